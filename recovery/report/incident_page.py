"""The incident report: a page, Markdown, or JSON of the same story."""

from __future__ import annotations

from recovery.model.incident_report import Story
from recovery.report.charts import bars
from recovery.report.html_page import render


def incident_html(story: Story) -> str:
    """One page that needs nothing else, fit to print."""
    chart = bars([(phase.step, phase.seconds) for phase in story.report.phases])
    return render("incident.html", title=f"Incident report {story.report.case}", story=story, chart=chart)


def incident_markdown(story: Story) -> str:
    """For a wiki or an issue."""
    return render("incident.md", story=story)
