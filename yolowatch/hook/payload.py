# Runs in the main thread of a training that was not started by yolowatch, between two of its own
# instructions: in it only a thread is started, which loads the hook from its staged folder without
# touching sys.path. In front of this text stands one line, GIVEN = '…', the JSON of what `arriving`
# is to do. Whatever goes wrong here, the training goes on as if nothing had come.
def _arrive(given):
    import _thread
    import sys

    def load(folder):
        from importlib import util

        path = folder + "/yolowatch_hook"
        spec = util.spec_from_file_location(
            "yolowatch_hook", path + "/__init__.py", submodule_search_locations=[path]
        )
        package = util.module_from_spec(spec)
        sys.modules["yolowatch_hook"] = package
        spec.loader.exec_module(package)

    def begin():
        try:
            import importlib
            import json

            order = json.loads(given)
            is_fresh = "yolowatch_hook" not in sys.modules
            if is_fresh:
                load(order["stage"])
            importlib.import_module("yolowatch_hook.arriving").arrive(order, is_fresh)
        except BaseException:  # the boundary: nothing of ours may reach the training
            pass

    # Not a threading.Thread, whose start waits until the new thread has run.
    _thread.start_new_thread(begin, ())


try:
    if "GIVEN" in globals():
        _arrive(globals()["GIVEN"])
except KeyboardInterrupt:  # the user's own, at this moment: it is theirs to answer
    import _thread

    _thread.interrupt_main()
except BaseException:  # a SystemExit that leaves would end the training
    pass
