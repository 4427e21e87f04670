"""What the tests of penguiflow-viz share: flows of all shapes, a browser, Graphviz, and eyes for what they draw."""
