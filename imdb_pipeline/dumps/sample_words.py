"""The word stock of the synthetic catalogue: title words by theme and tone, names by language, genres and their worth.

Only words and constants: how they are drawn and combined is in ``sample``. No title and no person here is IMDb's.
"""

from __future__ import annotations

from typing import NamedTuple


class Theme(NamedTuple):
    """What a movie is about: its share, its genres and three lists of title nouns, from fine to cheap in tone."""

    share: float
    genres: str
    also: str
    runtime: float
    fine: str
    plain: str
    cheap: str


class Flavour(NamedTuple):
    """A language: share among movies, worth in rating points, names, title phrases (first third fine, last cheap)."""

    share: float
    worth: float
    men: str
    women: str
    family_heads: str
    family_tails: str
    conjunction: str
    phrases: tuple[str, ...]
    tails: tuple[str, ...]


GENRE_WORTH = {
    "Action": -0.45,
    "Adventure": -0.05,
    "Animation": 0.4,
    "Biography": 0.55,
    "Comedy": -0.1,
    "Crime": 0.0,
    "Documentary": 1.05,
    "Drama": 0.3,
    "Family": 0.0,
    "Fantasy": -0.25,
    "Film-Noir": 0.4,
    "History": 0.45,
    "Horror": -1.3,
    "Music": 0.4,
    "Musical": 0.1,
    "Mystery": -0.2,
    "Romance": 0.0,
    "Sci-Fi": -0.8,
    "Sport": 0.3,
    "Thriller": -0.65,
    "War": 0.4,
    "Western": -0.1,
}

THEMES = (
    Theme(
        0.23,
        "Drama",
        "Drama,Family,History,Crime,Biography,Romance",
        104,
        "Letters,Silence,Orchard,Winter,Inheritance,Harvest,Testimony,Migration,Solitude,Cathedral",
        "Sisters,House,Journey,Father,Village,Summer,Promise,Stranger,Bridge,Neighbours",
        "Scandal,Tears,Temptation,Revenge,Cheater,Gossip,Betrayer,Mistress,Obsession,Divorce",
    ),
    Theme(
        0.17,
        "Comedy",
        "Comedy,Romance,Family,Drama,Crime,Music",
        95,
        "Understudy,Waltz,Bookshop,Misunderstanding,Pianist,Gardener,Etiquette,Postman,Recital,Umbrella",
        "Wedding,Cousins,Holiday,Landlord,Barber,Uncle,Taxi,Reunion,Boss,Weekend",
        "Bikini,Party,Dude,Pranks,Hangover,Bachelor,Beach,Goofballs,Babes,Spring Break",
    ),
    Theme(
        0.13,
        "Documentary",
        "Documentary,Biography,History,Music,Sport,War",
        84,
        "Archive,Glacier,Testament,Photographs,Orchestra,Witnesses,Rainforest,Manuscript,Architect,Conscience",
        "Portrait,Coast,Road,Workers,Ocean,Farm,Club,City,Season,Voices",
        "Secrets,Exposed,Conspiracy,Aliens,Bigfoot,Hoax,Celebrity,Shocking Truth,Mysteries,Cover-Up",
    ),
    Theme(
        0.1,
        "Horror",
        "Horror,Thriller,Mystery,Sci-Fi",
        90,
        "Lullaby,Governess,Marsh,Mirrors,Sanatorium,Candlelight,Hymn,Threshold,Ashes,Lighthouse",
        "Haunting,Ghost,Curse,Cellar,Grave,Nightmare,Witch,Attic,Crypt,Darkness",
        "Zombie,Massacre,Slasher,Chainsaw,Vampires,Killer Clown,Bloodbath,Mutants,Cannibals,Demon",
    ),
    Theme(
        0.11,
        "Thriller,Crime",
        "Crime,Thriller,Mystery,Drama,Action",
        101,
        "Verdict,Informant,Alibi,Ledger,Conscience,Chess Player,Confession,Labyrinth,Magistrate,Interpreter",
        "Detective,Hostage,Evidence,Suspect,Robbery,Border,Fugitive,Witness,Undercover,Ransom",
        "Hitman,Stalker,Deadly,Psycho,Kill,Gangsters,Killer,Payback,Assassin,Vice",
    ),
    Theme(
        0.07,
        "Romance",
        "Romance,Drama,Comedy,Music",
        101,
        "Nocturne,Lanterns,Correspondence,Almond Tree,Autumn,Serenade,Farewell,Moonlight,Waiting Room,Sonata",
        "Love,Kiss,Bride,Heart,Dance,Paris,Valentine,Rose,Honeymoon,Engagement",
        "Crush,Seduction,Flirt,Hookup,Lust,Playboy,Fling,Dating,Hot Nights,Romeo",
    ),
    Theme(
        0.06,
        "Action",
        "Action,Adventure,Thriller,Crime,Sci-Fi,Western",
        104,
        "Ronin,Expedition,Blacksmith,Cavalry,Horizon,Oath,Mountaineer,Caravan,Honour,Swordsman",
        "Mission,Pursuit,Warrior,Soldier,Treasure,Rider,Commander,Island,Escape,Pilot",
        "Commando,Explosion,Terminator Squad,Death Race,Ninja,Mercenary,Fury,Sharks,Rampage,Bullets",
    ),
    Theme(
        0.04,
        "Sci-Fi,Fantasy",
        "Sci-Fi,Fantasy,Adventure,Action,Horror",
        99,
        "Cosmonaut,Observatory,Memory,Constellation,Clockmaker,Equation,Dreamer,Oracle,Tide,Signal",
        "Planet,Robot,Machine,Dragon,Portal,Star,Kingdom,Experiment,Colony,Invisible",
        "Invasion,Mega Shark,Cyborg,Space Babes,Apocalypse,Monster,Dinosaurs,Laser,Android,Doomsday",
    ),
    Theme(
        0.05,
        "War,History,Biography",
        "Drama,History,War,Biography",
        114,
        "Armistice,Partisans,Chronicle,Requiem,Exile,Siege,Diplomat,Surgeon,Resistance,Treaty",
        "Front,Regiment,Victory,Captain,Trench,Empire,Flag,General,Prisoner,Queen",
        "Attack,Tanks,Bombers,Warlord,Blitz,Traitor,Inferno,Spies,Savage,Conqueror",
    ),
    Theme(
        0.04,
        "Animation,Family",
        "Animation,Family,Adventure,Comedy,Fantasy",
        86,
        "Firefly,Kite,Storyteller,Lantern,Nightingale,Snowfall,Paper Boat,Grandmother,Sparrow,Whale",
        "Puppy,Forest,Circus,Bear,Princess,Christmas,Magic,Toy,School,Rabbit",
        "Slime,Super Dog,Chipmunks,Slimeballs,Pony Party,Mini Heroes,Gadget,Wacky Zoo,Talking Cat,Space Pups",
    ),
)

ADJECTIVES = (
    "Quiet,Distant,Patient,Unfinished,Fragile,Luminous,Forgotten,Inner,Slow,Gentle,Faithful,Bitter",
    "Little,Last,Old,Lost,Secret,Blue,Second,Broken,Hidden,Long,Golden,Strange",
    "Crazy,Deadly,Nasty,Wild,Ultimate,Bloody,Extreme,Dirty,Evil,Super,Turbo,Insane",
)
PLACES = "Lisbon,Harlow,the North,Trieste,the Valley,Odessa,the Rain,Kyoto,the City,Montreal,the Desert,Bergen"

FLAVOURS = (
    Flavour(
        0.38,
        -0.1,
        "John,Peter,Michael,George,Henry,Walter,Daniel,Simon,Edward,Arthur,Thomas,Martin,Colin,Oliver,Samuel,Leo,"
        "Philip,Ralph,Victor,Brian,Owen,Neil,Keith,Russell",
        "Mary,Alice,Helen,Laura,Emma,Grace,Ruth,Claire,Nancy,Diana,Judith,Rose,Susan,Karen,Olivia,Jane,Nora,Joan,"
        "Hazel,Linda,Amy,Carol,Megan,Sarah",
        "Ash,Black,Brad,Carl,Clif,Cran,Dal,El,Fair,Gar,Har,Hart,Ken,Kirk,Lang,Marl,Mil,Nor,Oak,Pem,Rad,Ron,Stan,Sut,"
        "Thorn,Wal,War,Whit,Wil,Wood",
        "ton,ley,well,ford,worth,field,man,wick,by,son,more,den",
        "and",
        (),
        (),
    ),
    Flavour(
        0.08,
        0.35,
        "Jean,Pierre,Luc,André,François,Hervé,Étienne,Gérard,Julien,Marc,Olivier,René,Benoît,Yves,Loïc,Théo",
        "Marie,Hélène,Chloé,Élise,Camille,Léa,Margaux,Odile,Sylvie,Zoé,Agnès,Béatrice,Noémie,Aurélie,Inès,Colette",
        "Beau,Mont,Val,Cler,Bel,Chan,Dur,Four,Gau,Lam,Mar,Mor,Per,Rou,Sau,Ter,Ver,Vil,Gran,Bois",
        "and,el,mont,eau,ier,ot,in,ard,on,ville,et,ières",
        "et",
        (
            "Le fleuve",
            "La mémoire",
            "Les saisons",
            "Le silence",
            "L'été",
            "La neige",
            "La maison",
            "Le voisin",
            "Les cousines",
            "Le facteur",
            "La fête",
            "Le voyage",
            "La vengeance",
            "Le tueur",
            "Les bidasses",
            "Le monstre",
            "La folle",
            "Les vampires",
        ),
        ("de l'hiver", "perdue", "de ma mère", "d'à côté", "sans fin", "à la mer", "du dimanche", "rouge", "de Noël"),
    ),
    Flavour(
        0.07,
        -0.1,
        "Hans,Jürgen,Klaus,Stefan,Uwe,Günther,Jörg,Matthias,Lukas,Felix,Dieter,Rainer,Bernd,Sönke,Emil,Otto",
        "Anna,Greta,Käthe,Heike,Ulrike,Sabine,Lena,Johanna,Jördis,Monika,Petra,Birgit,Frieda,Bärbel,Ida,Renate",
        "Acker,Brand,Eich,Feld,Fried,Gold,Grün,Hof,Kauf,Kühn,Linden,Mühl,Neu,Ober,Rosen,Schön,Stein,Unter,Wein,Zimmer",
        "mann,er,hauser,bach,stein,berger,meier,huber,feld,wald",
        "und",
        (
            "Das Licht",
            "Die Stille",
            "Der Garten",
            "Die Briefe",
            "Das Gedächtnis",
            "Der Fluss",
            "Das Haus",
            "Die Brüder",
            "Der Zug",
            "Die Straße",
            "Das Dorf",
            "Der Gast",
            "Der Mörder",
            "Die Rache",
            "Das Monster",
            "Die Schulmädchen",
            "Der Todesclan",
            "Die Verrückten",
        ),
        ("im Winter", "der Väter", "ohne Namen", "am Meer", "von gestern", "im Süden", "für Anfänger", "über Berlin"),
    ),
    Flavour(
        0.07,
        0.0,
        "Marco,Luigi,Paolo,Franco,Sergio,Enzo,Dario,Niccolò,Giulio,Carlo,Piero,Ugo,Aldo,Bruno,Fabio,Elio",
        "Giulia,Chiara,Lucia,Franca,Paola,Silvia,Elena,Ornella,Carla,Bianca,Teresa,Ada,Gaia,Rosa,Livia,Marta",
        "Bel,Bran,Cal,Cam,Cor,Fer,Gal,Lom,Mar,Mor,Pel,Ric,Ros,Sal,San,Tor,Val,Ver,Bian,Can",
        "etti,ini,ardi,oni,elli,ucci,aro,ese,ante,ola",
        "e",
        (
            "La luce",
            "Il mare",
            "Le stagioni",
            "Il silenzio",
            "La memoria",
            "L'inverno",
            "La casa",
            "Il treno",
            "La città",
            "I fratelli",
            "Il sindaco",
            "Le vacanze",
            "La vendetta",
            "Gli assassini",
            "Il mostro",
            "Le dottoresse",
            "La notte cannibale",
            "I pazzi",
        ),
        ("di mio padre", "d'inverno", "perduta", "è lontana", "del sud", "senza nome", "di domenica", "più bella"),
    ),
    Flavour(
        0.09,
        -0.05,
        "Carlos,Javier,José,Andrés,Raúl,Ramón,Iván,Miguel,Pablo,Ángel,Tomás,Hugo,Diego,Adrián,Luis,Sergio",
        "Lucía,Carmen,Inés,Sofía,Pilar,Elena,Rocío,Marta,Belén,Ana,Begoña,Ximena,Alma,Paloma,Nuria,Julia",
        "Álvar,Benít,Domíngu,Fernánd,Gonzál,Gutiérr,Hernánd,Jimén,Martín,Márqu,Núñ,Ramír,Sánch,Vázqu,Velázqu,Ibáñ",
        "ez,ez Rey,ez Luna,ez Soto,ez Mora,ez Vega,ez Cano,ez Gil",
        "y",
        (
            "La memoria",
            "El río",
            "El silencio",
            "Las cartas",
            "La lluvia",
            "El jardín",
            "La casa",
            "El camino",
            "Los vecinos",
            "La boda",
            "El verano",
            "El tren",
            "La venganza",
            "El asesino",
            "Las ficheras",
            "Los zombis",
            "El cártel",
            "La bestia",
        ),
        ("del sur", "de mi madre", "perdida", "sin nombre", "del mañana", "y sus sueños", "en otoño", "más allá"),
    ),
    Flavour(
        0.09,
        -0.3,
        "Arjun,Ravi,Vikram,Sanjay,Anil,Mohan,Suresh,Rahul,Karan,Deepak,Naveen,Ashok,Rohit,Gopal,Kiran,Ajay",
        "Priya,Anjali,Meera,Kavita,Lakshmi,Sunita,Radha,Pooja,Nisha,Usha,Divya,Geeta,Asha,Rekha,Swati,Leela",
        "Raj,Dev,Chandra,Sur,Nar,Mah,Ved,Har,Jay,Kir,Man,Pra,Sat,Vis,Am,Bhat",
        "an,wal,kar,ani,pal,das,nath,endra,ia,esh",
        "aur",
        (
            "Nadi",
            "Khamoshi",
            "Yaadein",
            "Barsaat",
            "Chithi",
            "Deepak",
            "Ghar",
            "Safar",
            "Rishta",
            "Shaadi",
            "Dost",
            "Parivaar",
            "Badla",
            "Khooni",
            "Daku",
            "Shaitan",
            "Gunda",
            "Khatra",
        ),
        ("ki Raat", "ka Sapna", "Mera", "ke Baad", "Hai", "Desi", "ka Raja", "Nahin"),
    ),
    Flavour(
        0.07,
        0.55,
        "Kenji,Takeshi,Hiroshi,Shōta,Kōji,Daiki,Ryō,Makoto,Jun,Satoshi,Yūji,Haruki,Naoki,Tetsu,Isamu,Minoru",
        "Yuki,Aiko,Haruka,Sakura,Keiko,Michiko,Rei,Naomi,Yōko,Emi,Chiyo,Mai,Kaori,Setsuko,Hana,Ayumi",
        "Yama,Kawa,Taka,Mori,Naka,Fuji,Ishi,Matsu,Oka,Hara,Kita,Nishi,Ao,Kuro,Shira,Ike,Sugi,Tani",
        "da,ta,moto,mura,shima,saki,no,guchi,zawa,gawa",
        "to",
        (
            "Yuki",
            "Tsuki",
            "Haru no umi",
            "Tegami",
            "Kioku",
            "Kaze",
            "Ie",
            "Machi",
            "Kazoku",
            "Natsu",
            "Tabi",
            "Gakkō",
            "Satsujin",
            "Kaijū",
            "Yakuza",
            "Onna keiji",
            "Akuma",
            "Jigoku",
        ),
        ("no uta", "monogatari", "no ko", "no michi", "nikki", "densetsu", "no kisetsu", "dai sakusen"),
    ),
    Flavour(
        0.05,
        0.4,
        "Lars,Erik,Björn,Anders,Göran,Søren,Mikkel,Åke,Jørgen,Nils,Sven,Håkan,Olof,Mads,Rune,Gösta",
        "Astrid,Ingrid,Maja,Åsa,Linnéa,Sigrid,Freja,Karin,Märta,Elin,Tove,Solveig,Kerstin,Signe,Ylva,Bodil",
        "Lind,Berg,Sand,Ek,Alm,Björk,Dal,Fors,Gran,Holm,Hög,Nord,Ros,Sjö,Sten,Strand,Söder,Vik",
        "qvist,ström,gren,lund,mark,man,dahl,vall,stedt,sson",
        "och",
        (
            "Snön",
            "Tystnaden",
            "Sommaren",
            "Breven",
            "Havet",
            "Minnet",
            "Huset",
            "Grannen",
            "Bröderna",
            "Skärgården",
            "Ön",
            "Resan",
            "Mördaren",
            "Hämnden",
            "Badligan",
            "Snuten",
            "Vampyren",
            "Dårarna",
        ),
        ("i norr", "utan namn", "på ön", "vid sjön", "från igår", "som försvann", "i maj", "över staden"),
    ),
    Flavour(
        0.05,
        0.4,
        "Jan,Piotr,Andrzej,Wojciech,Michał,Łukasz,Jerzy,Paweł,Tomasz,Marek,Stanisław,Jakub,Adam,Henryk,Zbigniew,Leszek",
        "Anna,Małgorzata,Zofia,Ewa,Agnieszka,Łucja,Bożena,Hanna,Jadwiga,Dorota,Kinga,Żaneta,Maja,Irena,Beata,Wanda",
        "Kowal,Wiśniew,Dąbrow,Zieliń,Szymań,Lewandow,Piotrow,Grabow,Pawłow,Jabłoń,Wróblew,Olszew,Malinow,Gór,Czerwiń",
        "ski,icz,czak,iec,czuk,iak",
        "i",
        (
            "Śnieg",
            "Cisza",
            "Pamięć",
            "Listy",
            "Rzeka",
            "Światło",
            "Dom",
            "Droga",
            "Miasto",
            "Sąsiedzi",
            "Pociąg",
            "Wesele",
            "Zemsta",
            "Morderca",
            "Gangsterzy",
            "Potwór",
            "Psy",
            "Wampir",
        ),
        ("ojca", "zimą", "bez końca", "nad Wisłą", "o świcie", "mojej matki", "w maju", "na sprzedaż"),
    ),
    Flavour(
        0.05,
        -0.8,
        "Mehmet,Ahmet,Emre,Kemal,Orhan,Çetin,İlker,Tolga,Şener,Yılmaz,Burak,Serkan,Haluk,Uğur,Cem,Özgür",
        "Ayşe,Zeynep,Elif,Gülşen,Fatma,Özlem,Şebnem,Selin,Hülya,Defne,Nuray,Çiğdem,Esra,Melek,Pınar,İpek",
        "Ak,Kara,Yıl,Öz,Demir,Gül,Kay,Çel,Şa,Er,Tun,Al,Bey,Doğ,Gök,Taş",
        "han,soy,kaya,taş,türk,oğlu,man,can,bay,alp",
        "ve",
        (
            "Kış",
            "Sessizlik",
            "Mektup",
            "Bahçe",
            "Nehir",
            "Hatıra",
            "Ev",
            "Yol",
            "Komşu",
            "Düğün",
            "Kasaba",
            "Kardeşler",
            "İntikam",
            "Katil",
            "Cin",
            "Büyü",
            "Deli",
            "Azrail",
        ),
        ("Günlüğü", "Ağacı", "Mevsimi", "ve Ötesi", "Şarkısı", "Kapanı", "Çetesi", "Geceleri"),
    ),
)

ODD_TITLES = (
    ("NA", "NA"),
    ("None", "Žádný"),
    ('"Quoted" Hearts', '"Quoted" Hearts'),
    ('" Loose Quote', '" Loose Quote'),
    ("<script>alert('nights')</script>", "<script>alert('nights')</script>"),
    ("null", "null"),
    ("Letters in the Snow", "雪の手紙"),
    ("The Tide, the Ferry & the Fog", "Προς τη θάλασσα"),
    ("100% Tomorrow", "100% завтра"),
    ("Back\\Slash", "Back\\Slash"),
)
"""Primary and original titles that break careless readers and pages; one movie each."""

HOMONYM = "Nora Wyndham"
"""The name that ``HOMONYMS`` different people carry."""
HOMONYMS = 15

ODD_CHARACTERS = ('["Joe \\"Red\\" Hill"]', '["The \\"Ghost\\""]', '["Narrator","Old Man"]', '["Zoë"]', '["Nº 7"]')
OCCUPATIONS = "Doctor,Waiter,Policeman,Nurse,Teacher,Judge,Neighbour,Driver,Priest,Soldier,Bartender,Mayor"
MONTHS = "January,February,March,April,May,June,July,August,September,October,November,December"
WRITER_JOBS = ("written by", "screenplay", "story", "writer", "novel", "screenplay by")

SHORT_GENRES = "Short|Drama,Short|Comedy,Short|Animation,Short|Documentary,Short|Horror,Short|Music,Short"
TV_GENRES = (
    "Talk-Show|News|Reality-TV|Game-Show|Comedy|Drama|Drama,Romance|Comedy,Talk-Show|News,Talk-Show|Documentary|"
    "Animation,Comedy,Family|Crime,Drama,Mystery|Family|Music|Sport|Action,Adventure,Animation|Game-Show,Reality-TV"
)
