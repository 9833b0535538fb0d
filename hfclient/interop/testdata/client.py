"""What Python's huggingface_hub sees: one subcommand a question, one line of JSON an answer."""
import hashlib
import json
import sys

import huggingface_hub
from huggingface_hub import HfApi, hf_hub_download, scan_cache_dir, snapshot_download, try_to_load_from_cache
from huggingface_hub.utils import WeakFileLock


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def version():
    return huggingface_hub.__version__


def snapshot(repo, revision, *patterns):
    return snapshot_download(repo, revision=revision, allow_patterns=list(patterns) or None)


def files(repo, revision, *names):
    return {n: digest(hf_hub_download(repo, n, revision=revision)) for n in names}


def cached(repo, *names):
    return {n: isinstance(try_to_load_from_cache(repo, n), str) for n in names}


def scan():
    found = scan_cache_dir()
    return {
        "warnings": [str(w) for w in found.warnings],
        "repos": {
            r.repo_id: {"files": r.nb_files, "refs": sorted(x for v in r.revisions for x in v.refs)} for r in found.repos
        },
    }


def tree(repo, revision):
    entries = HfApi().list_repo_tree(repo, revision=revision, recursive=True)
    return {e.path: [getattr(e, "size", None), getattr(e, "lfs", None) and e.lfs.sha256] for e in entries}


def refs(repo):
    r = HfApi().list_repo_refs(repo)
    return {"branches": [b.name for b in r.branches], "tags": [t.name for t in r.tags]}


def upload(repo, folder):
    """Makes a private repo and commits a folder to it, as `hf upload` does."""
    HfApi().create_repo(repo, private=True, exist_ok=True)
    return HfApi().upload_folder(repo_id=repo, folder_path=folder, commit_message="from Python").oid


def failure(repo, revision, name):
    try:
        if name:
            hf_hub_download(repo, name, revision=revision)
        else:
            HfApi().model_info(repo, revision=revision)
    except Exception as e:  # the name of its class is the answer
        return type(e).__name__
    return ""


def hold(path):
    """Takes a lock until a line comes."""
    with WeakFileLock(path):
        print(json.dumps("held"), flush=True)
        sys.stdin.readline()
    return "released"


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
