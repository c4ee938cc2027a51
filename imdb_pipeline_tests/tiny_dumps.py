"""A handful of made-up rows in IMDb's format, written as real gzip files."""

import gzip
from pathlib import Path

TITLES = """\
tconst	titleType	primaryTitle	originalTitle	isAdult	startYear	endYear	runtimeMinutes	genres
tt0000001	movie	The Lamp "at" Noon	La lámpara	0	1999	\\N	101	Drama,Mystery
tt0000002	tvMovie	NA	NA	0	2001	\\N	\\N	\\N
tt0000003	short	A Short	A Short	0	2001	\\N	5	Short
tt0000004	movie	Unrated Yet	Unrated Yet	1	2003	\\N	88	Comedy
tt0000005	movie	Old and Unseen	Old and Unseen	0	1950	\\N	70	Drama
"""
RATINGS = """\
tconst	averageRating	numVotes
tt0000001	7.4	1234
tt0000002	5.0	30
tt0000003	6.1	50
tt0000005	4.9	7
"""
PRINCIPALS = """\
tconst	ordering	nconst	category	job	characters
tt0000001	10	nm0000005	composer	\\N	\\N
tt0000001	1	nm0000001	actress	\\N	["Zoë \\"Z\\" Å"]
tt0000001	2	nm0000002	actor	\\N	["Self"]
tt0000001	3	nm0000003	director	\\N	\\N
tt0000001	4	nm0000003	writer	written by	\\N
tt0000001	5	nm0000004	producer	producer	\\N
tt0000001	6	nm0000009	editor	\\N	\\N
tt0000003	1	nm0000001	director	\\N	\\N
"""
NAMES = """\
nconst	primaryName	birthYear	deathYear	primaryProfession	knownForTitles
nm0000001	Zoë Ångström	1970	\\N	actress	tt0000001
nm0000002	Ann O'Hara	\\N	\\N		\\N
nm0000003	Ann O'Hara	\\N	\\N	director,writer	\\N
nm0000004	Per Holm	\\N	\\N	producer	\\N
nm0000005	Mia Sol	\\N	\\N	composer	\\N
"""
FILES = {
    "title.basics.tsv.gz": TITLES,
    "title.ratings.tsv.gz": RATINGS,
    "title.principals.tsv.gz": PRINCIPALS,
    "name.basics.tsv.gz": NAMES,
}


def write_dumps(folder: Path, **replaced: str) -> Path:
    """Write the four files; ``title_ratings="..."`` and the like replace the text of one."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in FILES.items():
        text = replaced.get(file.removesuffix(".tsv.gz").replace(".", "_"), text)
        (folder / file).write_bytes(gzip.compress(text.encode(), mtime=0))
    return folder
