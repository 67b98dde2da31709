"""What the programs of this folder share: skips, constants of stored types, and the loop over tests."""
import argparse
import importlib.util
import traceback

DIGITS = {"F64": 53, "F32": 24, "F16": 11, "BF16": 8}  # bits of a significand
SMALLEST = {"F64": 2.0**-1074, "F32": 2.0**-149, "F16": 2.0**-24, "BF16": 2.0**-133}


class Skip(Exception):
    pass


def need(*modules, why=""):
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise Skip(f"the Python package {module} is not installed{why}")


def run_tests(program, names, prefix=""):
    """Runs the functions test_* of `program`, the globals of a module, in order, with the options `names` in ARGS.
    Prints a line for each and the count last; returns the exit code."""
    parser = argparse.ArgumentParser(description=program["__doc__"])
    for name in names:
        parser.add_argument("--" + name, required=True)
    program["ARGS"] = parser.parse_args()
    count = {"passed": 0, "failed": 0, "skipped": 0}
    for name, test in list(program.items()):
        if not name.startswith("test_"):
            continue
        title = prefix + name[5:].replace("_", " ")
        try:
            test()
            count["passed"] += 1
            print(f"ok    {title}", flush=True)
        except Skip as reason:
            count["skipped"] += 1
            print(f"skip  {title}: {reason}", flush=True)
        except Exception as error:
            count["failed"] += 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            print(f"FAIL  {title}: {type(error).__name__}: {error} ({where.name}, line {where.lineno})", flush=True)
    print(", ".join(f"{n} {word}" for word, n in count.items()))
    return 1 if count["failed"] else 0
