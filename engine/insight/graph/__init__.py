"""Playbooks and programs as pictures: boxes and arrows, and three ways to write them down."""

from engine.insight.graph.dot import dot
from engine.insight.graph.flow import flow
from engine.insight.graph.mermaid import mermaid
from engine.insight.graph.overview import overview
from engine.insight.graph.people import Standing, standing
from engine.insight.graph.picture import Arrow, Box, Picture
from engine.insight.graph.svg import svg

WRITERS = {"mermaid": mermaid, "svg": svg, "dot": dot}
"""Format -> picture to text."""

__all__ = ["WRITERS", "Arrow", "Box", "Picture", "Standing", "flow", "overview", "standing"]
