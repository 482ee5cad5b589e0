// Draws the plots in the page's colours, again when the reader's system goes dark or light.
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const resolve = (value) =>
    typeof value === "string" && value.startsWith("--") ? colour(value.slice(2))
        : Array.isArray(value) ? value.map(resolve)
        : value && typeof value === "object"
            ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, resolve(inner)]))
        : value;
function draw() {
    const axis = { gridcolor: colour("line"), zerolinecolor: colour("dim"), linecolor: colour("line"), automargin: true };
    for (const [id, plot] of Object.entries(plots)) {
        const { data, layout } = resolve(plot);
        Object.assign(layout, {
            paper_bgcolor: "rgba(0,0,0,0)",
            plot_bgcolor: "rgba(0,0,0,0)",
            font: { color: colour("text"), family: "system-ui, sans-serif", size: 12 },
            hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("text") } },
        });
        for (const name of Object.keys(layout).filter((key) => /^[xy]axis/.test(key))) {
            layout[name] = { ...axis, ...layout[name] };
        }
        Plotly.react(id, data, layout, { displayModeBar: false, responsive: true });
    }
}
draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
