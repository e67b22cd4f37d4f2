"""A stream that is traced once, for tests of what comes behind it."""


def traced_once(views):
    """The `Views` given, whose `stream` gives the same dataset for the same step and share.

    A dataset holds no state, so that each iterator begins it anew; to trace it takes longer than a
    small network needs for an epoch.
    """
    made, stream = {}, views.stream

    def once(first_step=0, context=None):
        key = (first_step, _share(context))
        if key not in made:
            made[key] = stream(first_step, context)
        return made[key]

    # The class is frozen, and `fit` asks for no other.
    object.__setattr__(views, "stream", once)
    return views


def _share(context):
    """What tells one host's share from another's; None for the whole."""
    return context and (
        context.num_input_pipelines,
        context.input_pipeline_id,
        context.num_replicas_in_sync,
    )
