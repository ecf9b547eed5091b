#!/usr/bin/env python3
"""Compares logits with a reference: relative L2, KL divergence, agreement of the top token. Needs numpy only.

Ours is a .npy of float32 (T, V), or comes from running `metallic logits` on the reference's tokens. The reference is
  X.npy  logits (T, V); where metallic is to be run, the tokens are in X with "logits" replaced by "tokens"
  X.npz  tokens (T), top_ids and top_logits (T, 32), logsumexp (T), last_logits (V): all logits of the last position;
         of the others only the 32 largest and the logarithm of the sum of all exponentials

    tools/compare-logits.py ours.npy --golden reference.npy
    tools/compare-logits.py --metallic build/metallic --model M.gguf --golden A.npz B.npz --backend cpu
    tools/compare-logits.py --metallic build/metallic --model tests/data/models/qwen3.gguf \\
        --golden tests/data/models/qwen3.logits.npy --backend reference --max-l2 1e-4

What is printed, for each reference file:
  relative L2   |ours - reference| / |reference| of a position's logits, over the entries the reference holds there:
                all V, or in an .npz the 32 largest (all V at the last position). Largest and mean over the positions.
  KL            KL(reference || ours) in nats, sum of p log(p / q), p and q from softmax over all V; mean and largest of
                the positions. Where the reference holds 32 entries, p_i = exp(logit_i - logsumexp), q_i that of ours
                with the logsumexp of our V logits, and the other V - 32 entries form one bucket with the rest of p
                and of q. Merging can only lower the value: it is a lower bound, close where the 32 hold nearly all.
  top-1         share of positions whose largest logit has the same index; then the same among the positions where the
                reference's largest leads its second by more than --margin (0.3).
Exit status 1 if a limit (--max-l2, --max-kl, --all-clear-agree) is not met, a shape does not fit or metallic fails.
"""

import argparse
import dataclasses
import pathlib
import subprocess
import sys
import tempfile

import numpy as np


class Mismatch(Exception):
    """A file that cannot be compared; the message says which and why."""


@dataclasses.dataclass
class Reference:
    name: str
    tokens: np.ndarray | None  # (T)
    full: dict  # position -> logits (V), for the positions known whole
    top_ids: np.ndarray | None = None  # (T, K)
    top_logits: np.ndarray | None = None
    logsumexp: np.ndarray | None = None
    count: int = 0  # T
    vocabulary: int = 0  # V


def load_reference(path):
    path = pathlib.Path(path)
    if path.suffix == ".npz":
        data = np.load(path)
        last, count = data["last_logits"], len(data["tokens"])
        return Reference(
            path.name,
            data["tokens"],
            {count - 1: last},
            data["top_ids"],
            data["top_logits"],
            data["logsumexp"],
            count,
            len(last),
        )
    logits = np.load(path, mmap_mode="r")
    if logits.ndim != 2:
        raise Mismatch(f"{path}: shape {logits.shape}; logits are (tokens, vocabulary)")
    tokens = path.with_name(path.name.replace("logits", "tokens"))
    known = tokens != path and tokens.exists()
    return Reference(
        path.name,
        np.load(tokens) if known else None,
        dict(enumerate(logits)),
        count=len(logits),
        vocabulary=logits.shape[1],
    )


def run_metallic(args, reference, out):
    if reference.tokens is None:
        raise Mismatch(f"{reference.name}: no file of its tokens beside it, so metallic cannot be run on them")
    command = [
        args.metallic,
        "logits",
        "-m",
        args.model,
        "--tokens",
        ",".join(map(str, reference.tokens.tolist())),
        "-o",
        out,
    ]
    if args.backend:
        command += ["--backend", args.backend]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Mismatch(f"{args.metallic} logits -m {args.model}: exit status {done.returncode}: {done.stderr.strip()}")
    return np.load(out, mmap_mode="r")


def logsumexp(x):
    top = x.max()
    return top + np.log(np.exp(x - top).sum())


def divergence(log_p, log_q):
    """Sum of p log(p / q) over the entries given; an entry with p = 0 counts nothing."""
    p = np.exp(log_p)
    return float((p[p > 0] * (log_p - log_q)[p > 0]).sum())


def compare_full(ours, golden):
    l2 = np.linalg.norm(ours - golden) / np.linalg.norm(golden)
    second, first = np.partition(golden, -2)[-2:]
    kl = divergence(golden - logsumexp(golden), ours - logsumexp(ours))
    return l2, kl, ours.argmax() == golden.argmax(), first - second


def compare_top(ours, ids, golden, golden_logsumexp):
    known = ours[ids]
    l2 = np.linalg.norm(known - golden) / np.linalg.norm(golden)
    log_p, log_q = golden - golden_logsumexp, known - logsumexp(ours)
    rest_p = max(0.0, 1 - np.exp(log_p).sum())
    others = np.delete(ours, ids)
    kl = divergence(log_p, log_q)
    if rest_p > 0 and len(others):
        kl += rest_p * (np.log(rest_p) - (logsumexp(others) - logsumexp(ours)))
    order = np.argsort(golden)
    return l2, kl, ours.argmax() == ids[order[-1]], golden[order[-1]] - golden[order[-2]]


def compare(ours, reference):
    """One row (relative L2, KL, top token agrees, margin of the reference) for each position."""
    expected = (reference.count, reference.vocabulary)
    if ours.shape != expected:
        raise Mismatch(f"{reference.name}: logits of shape {ours.shape}, but the reference's are {expected}")
    rows = []
    for t in range(reference.count):
        row = ours[t].astype(np.float64)
        if not np.isfinite(row).all():
            raise Mismatch(f"{reference.name}: position {t} has a logit that is not finite")
        if t in reference.full:
            rows.append(compare_full(row, reference.full[t].astype(np.float64)))
        else:
            golden = reference.top_logits[t].astype(np.float64)
            rows.append(compare_top(row, reference.top_ids[t], golden, float(reference.logsumexp[t])))
    return np.array(rows, dtype=np.float64)


def report(reference, rows, args):
    l2, kl, agrees, margin = rows.T
    clear = margin > args.margin
    kind = (
        "all logits"
        if len(reference.full) == reference.count
        else f"{reference.top_ids.shape[1]} largest logits + rest"
    )
    print(f"{reference.name}: {reference.count} positions, {kind}")
    print(f"  relative L2  largest {l2.max():.3e} (position {l2.argmax()})  mean {l2.mean():.3e}")
    print(f"  KL           mean {kl.mean():.3e}  largest {kl.max():.3e} (position {kl.argmax()})")
    print(
        f"  top-1        {int(agrees.sum())} of {len(agrees)} agree; with margin > {args.margin:g}: "
        f"{int(agrees[clear].sum())} of {int(clear.sum())}"
    )
    lost = np.flatnonzero(clear & (agrees == 0))
    if len(lost):
        print(f"  clear disagreements at positions {', '.join(map(str, lost[:20]))}")
    failures = []
    if args.max_l2 is not None and not l2.max() <= args.max_l2:
        failures.append(f"relative L2 above {args.max_l2:g}")
    if args.max_kl is not None and not kl.mean() <= args.max_kl:
        failures.append(f"mean KL above {args.max_kl:g}")
    if args.all_clear_agree and len(lost):
        failures.append("a clear top token differs")
    if failures:
        print(f"  FAILED: {'; '.join(failures)}")
    return not failures


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logits", nargs="?", help=".npy of ours; otherwise --metallic and --model make it")
    parser.add_argument("--golden", nargs="+", required=True, metavar="FILE", help=".npz or .npy reference")
    parser.add_argument("--metallic", metavar="PROGRAM")
    parser.add_argument("--model", metavar="GGUF")
    parser.add_argument("--backend", help="passed to metallic: reference or cpu")
    parser.add_argument("--margin", type=float, default=0.3)
    parser.add_argument("--max-l2", type=float, help="limit of the largest relative L2")
    parser.add_argument("--max-kl", type=float, help="limit of the mean KL divergence")
    parser.add_argument(
        "--all-clear-agree", action="store_true", help="fail if a top token with a clear margin differs"
    )
    args = parser.parse_args()
    runs = args.metallic is not None and args.model is not None
    if (args.logits is not None) == runs or (args.metallic is None) != (args.model is None):
        parser.error("give either a .npy of logits, or --metallic and --model")
    if args.logits is not None and len(args.golden) != 1:
        parser.error("one .npy of logits is compared with one --golden")
    return args


def main():
    args = parse_arguments()
    passed = True
    for path in args.golden:
        try:
            reference = load_reference(path)
            with tempfile.TemporaryDirectory() as folder:
                ours = (
                    np.load(args.logits, mmap_mode="r")
                    if args.logits
                    else run_metallic(args, reference, f"{folder}/ours.npy")
                )
                passed &= report(reference, compare(ours, reference), args)
        except (Mismatch, OSError, KeyError, ValueError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            passed = False
    sys.exit(not passed)


if __name__ == "__main__":
    main()
