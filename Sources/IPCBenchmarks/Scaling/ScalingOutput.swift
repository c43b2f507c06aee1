/// The figures of `ipc bench --scaling`, as a table and as a page with a chart for each series.
public enum ScalingOutput {
    private static func title(_ series: ScalingBenchmark.Series) -> (String, caption: String) {
        switch series {
        case .readers:
            (
                "1 writer, and an increasing number of readers",
                "Messages per second that each reader received, by number of readers."
            )
        case .writers:
            (
                "An increasing number of writers, and 1 reader",
                "Messages per second of all writers together, by number of writers, which share the topic."
            )
        case .log:
            ("Log size", "Messages per second of 1 writer and 1 reader, by log size.")
        case .channels:
            (
                "Number of channels",
                "Messages per second that one process published to its channels in turn, by number of channels."
            )
        }
    }

    private static func label(_ setup: ScalingBenchmark.Setup) -> String {
        setup.series == .log ? Quantity.size(setup.variable) : "\(setup.variable)"
    }

    /// Each figure beside the first of its series.
    public static func table(_ figures: [ScalingBenchmark.Figure]) -> String {
        ScalingBenchmark.Series.allCases.compactMap { series in
            let own = figures.filter { $0.setup.series == series }
            guard let first = own.first else { return nil }
            let rows = own.map {
                [
                    label($0.setup), Quantity.rate($0.messagesPerSecond),
                    Quantity.ratio($0.messagesPerSecond / first.messagesPerSecond),
                ]
            }
            return "\(title(series).0)\n"
                + TableFormat.aligned([[series.rawValue, "messages", "of the first"]] + rows, numeric: [0, 1, 2])
        }.joined(separator: "\n")
    }

    /// One self-contained page.
    public static func html(_ figures: [ScalingBenchmark.Figure]) -> String {
        let charts = ScalingBenchmark.Series.allCases.compactMap { series -> String? in
            let points = figures.filter { $0.setup.series == series }.map {
                Charts.Point(x: Double($0.setup.variable), y: $0.messagesPerSecond, label: label($0.setup))
            }
            guard !points.isEmpty else { return nil }
            return Charts.lines(
                title(series).0, title(series).caption, series.rawValue,
                [Charts.Line(name: "topic", color: "#2563eb", points: points)], unit: Quantity.rate)
        }
        return HTMLReport.page(
            title: "ipc bench --scaling", heading: "Scaling of topics with messages of 64 B",
            "<p>\(HTMLReport.escaped(Machine.current.description)).</p>" + charts.joined(separator: "\n"))
    }
}
