"""What every test shares: no model hub, no proxy, and one small home that holds a whole run of the sample."""

import os
import signal

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["NO_PROXY"] = "*"  # every server is on loopback
os.environ.pop("IMDB_PIPELINE_ACCEPT_LICENCE", None)
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the cores

DAY = "2026-03-04"
MOVIES = 400


def _forget_other_homes():
    """What opened an instance in this process has named it in the environment, and child processes would use it; what
    ran a job has made SIGTERM do what SIGINT does, and where a shell has had that ignored, children would ignore both;
    under nohup they would ignore SIGHUP.
    """
    os.environ.pop("IMDB_PIPELINE_HOME", None)
    os.environ.pop("DAGSTER_HOME", None)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


_forget_other_homes()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    _forget_other_homes()


@pytest.fixture(scope="session")
def held_home(tmp_path_factory):
    """A home with every asset of one day of a small sample; read it, do not run in it. Made once for all workers."""
    from filelock import FileLock

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    home = shared / "held" / "home"
    with FileLock(shared / "held.lock"):
        if not (home.parent / "first_run.txt").exists():
            _make_home(home)
    return home


def copy_home(source, target):
    """Copy a home that other tests read at the same time: what SQLite keeps beside a database while it is open comes
    and goes, and so do files that are being written and what ``doctor`` tries."""
    import shutil

    return shutil.copytree(source, target, ignore=shutil.ignore_patterns("*-wal", "*-shm", "*-journal", ".*-*"))


def _make_home(home):
    import shutil

    from imdb_pipeline_tests.commands import run_command

    shutil.rmtree(home.parent, ignore_errors=True)  # what is left of an attempt that failed
    home.mkdir(parents=True)
    settings = f'device = "cpu"\n\n[sample]\nmovies = {MOVIES}  # small, for the tests\n'
    (home / "settings.toml").write_text(settings)
    result = run_command("run", "--home", home, "--day", DAY)
    assert result.status == 0, result.err
    (home.parent / "first_run.txt").write_text(result.out)


@pytest.fixture(scope="session")
def answering_home(held_home, tmp_path_factory):
    """A home whose champion is a blend with trees; read it, do not run in it."""
    from imdb_pipeline_tests.answering import make_answering_home

    return make_answering_home(held_home, tmp_path_factory.mktemp("answering") / "home")


@pytest.fixture
def webhook():
    """A webhook on loopback that keeps what it is sent."""
    from imdb_pipeline_tests.webhook import listening_webhook

    with listening_webhook() as listening:
        yield listening


@pytest.fixture
def home(held_home, tmp_path):
    """A copy of it to run in."""
    return copy_home(held_home, tmp_path / "home")
