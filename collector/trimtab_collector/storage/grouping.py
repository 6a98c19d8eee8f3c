"""How a read distinguishes measures, the same for every engine."""

from trimtab_collector.storage.store import MeasureSelection
from trimtab_core.measures import MeasureKey

__all__ = ["WhoseMeasure", "grouped_by"]

#: environment, service, instance, and what is measured there
WhoseMeasure = tuple[str, str, str, MeasureKey]


def grouped_by(selection: MeasureSelection, whose: WhoseMeasure) -> WhoseMeasure:
    """Return a measure as a selection sees it: fields not in group_by are empty or absent."""
    environment, service, instance, key = whose
    by = selection.group_by
    if selection.attributes is not None:
        kept = tuple(pair for pair in key.attributes if pair[0] in selection.attributes)
        key = key._replace(attributes=kept)
    return (
        environment if "environment" in by else "",
        service if "service" in by else "",
        instance if "instance" in by else "",
        key,
    )
