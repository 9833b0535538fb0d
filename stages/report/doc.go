// Package report turns records into one HTML page that stands alone: per model, quality against size and against speed, speed by
// depth, memory by context, and under every plot the table that it was drawn from.
//
// Held by tests:
//   - The page asks nothing of any network and runs no script; what a plot shows is in its table too.
//   - Plots are drawn twice, for a wide and a narrow screen: a plot that is merely scaled down cannot be read on a phone.
//   - Colours stand in page.css alone. SVG elements carry classes, so that dark mode and print repaint plots as they do text.
package report
