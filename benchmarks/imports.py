"""`import germane` against `import numpy` (claim: at most 1.5 times), `germane --help` against Python itself (0.5 s more).

    python benchmarks/imports.py

The least of 9 runs each, taken in turn, of processor time (user + system) of a fresh interpreter.
"""

import resource
import subprocess
import sys

CASES = {
    "python itself": "pass",
    "import numpy": "import numpy",
    "import germane": "import germane",
    "import germane.metrics": "import germane.metrics",
    "germane --help": "import sys; sys.argv = ['germane', '--help']; from germane.cli import main; main()",
}


def seconds(code: str) -> float:
    """Processor time of one fresh interpreter that runs `code`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    rounds = [[seconds(code) for code in CASES.values()] for _ in range(9)]
    found = {name: min(times) for name, times in zip(CASES, zip(*rounds, strict=True), strict=True)}
    print("\n".join(f"{name:24} {value:.3f} s" for name, value in found.items()))
    ratio = found["import germane"] / found["import numpy"]
    print(f"import germane is {ratio:.2f} times import numpy (claim: at most 1.5)")
    more = found["germane --help"] - found["python itself"]
    print(f"germane --help is {more:.2f} s more than Python itself (claim: under 0.5)")
    sys.exit(not (ratio <= 1.5 and more < 0.5))


if __name__ == "__main__":
    main()
