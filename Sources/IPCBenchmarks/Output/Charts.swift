import Glibc

/// The charts of the reports, as SVG on logarithmic scales.
enum Charts {
    private static let width = 900.0
    private static let colors = [
        "#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2", "#be185d", "#65a30d", "#9333ea", "#0d9488",
        "#b45309", "#4f46e5", "#e11d48", "#64748b",
    ]

    /// A position on a logarithmic scale.
    private struct Scale {
        let low: Double
        let high: Double
        let from: Double
        let to: Double

        /// The scale of these values, widened to whole powers of ten.
        init(_ values: [Double], from: Double, to: Double) {
            let positive = values.filter { $0 > 0 }
            low = log10(positive.min() ?? 1).rounded(.down)
            high = max(low + 1, log10(positive.max() ?? 10).rounded(.up))
            self.from = from
            self.to = to
        }

        func callAsFunction(_ value: Double) -> Double {
            from + (log10(max(value, 1e-9)) - low) / (high - low) * (to - from)
        }

        var powers: [Double] { (Int(low)...Int(high)).map { pow(10, Double($0)) } }
    }

    private static func number(_ value: Double) -> String { Quantity.fixed(value, 1) }

    private static func text(_ x: Double, _ y: Double, _ text: String, anchor: String = "start", faint: Bool = false)
        -> String
    {
        "<text x=\"\(number(x))\" y=\"\(number(y))\" text-anchor=\"\(anchor)\"\(faint ? " class=\"faint\"" : "")>\(HTMLReport.escaped(text))</text>"
    }

    private static func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double) -> String {
        "<line class=\"axis\" x1=\"\(number(x1))\" y1=\"\(number(y1))\" x2=\"\(number(x2))\" y2=\"\(number(y2))\"/>"
    }

    private static func figure(_ title: String, _ caption: String, _ id: String, height: Double, _ body: [String])
        -> String
    {
        """
        <h2>\(HTMLReport.escaped(title))</h2>
        <figure><svg id="\(id)" viewBox="0 0 \(number(width)) \(number(height))" role="img" aria-label="\(HTMLReport.escaped(title))">
        \(body.joined(separator: "\n"))
        </svg><figcaption>\(HTMLReport.escaped(caption))</figcaption></figure>
        """
    }

    /// For each mechanism and implementation, a bar from the median to p99.9, with marks.
    static func latencies(_ result: BenchmarkResult) -> String {
        let size = result.options.sizes.first ?? 64
        let items = result.measurements.filter {
            $0.measure == .latency && $0.payloadBytes == ($0.mechanism.fixedPayload ?? size)
        }
        guard !items.isEmpty else { return "" }
        let left = 190.0
        let top = 30.0
        let row = 22.0
        let height = top + row * Double(items.count) + 10
        let scale = Scale(
            items.flatMap { [Double($0.latency!.p50), Double($0.latency!.p999)] }, from: left, to: width - 80)
        var body = scale.powers.flatMap { power in
            [
                line(scale(power), top - 8, scale(power), height - 10),
                text(scale(power), top - 14, Quantity.time(UInt64(power)), anchor: "middle", faint: true),
            ]
        }
        for (index, item) in items.enumerated() {
            let latency = item.latency!
            let y = top + row * Double(index) + row / 2
            let color = colors[(Mechanism.allCases.firstIndex(of: item.mechanism) ?? 0) % colors.count]
            let name = item.mechanism.rawValue + (item.implementation == .c ? " (C)" : "")
            body.append(text(left - 10, y + 4, name, anchor: "end"))
            let x50 = scale(Double(latency.p50))
            let x99 = scale(Double(latency.p99))
            let x999 = scale(Double(latency.p999))
            body.append(
                "<rect x=\"\(number(x50))\" y=\"\(number(y - 2))\" width=\"\(number(max(1, x999 - x50)))\" height=\"4\" fill=\"\(color)\" opacity=\".4\"/>"
            )
            body.append(
                "<rect x=\"\(number(x50))\" y=\"\(number(y - 5))\" width=\"\(number(max(1, x99 - x50)))\" height=\"10\" fill=\"\(color)\" opacity=\".6\"/>"
            )
            body.append("<circle cx=\"\(number(x50))\" cy=\"\(number(y))\" r=\"5\" fill=\"\(color)\"/>")
            body.append(text(x999 + 8, y + 4, Quantity.time(latency.p50), faint: true))
        }
        let what = result.options.rate.map { "One-way latency at \($0) messages/s" } ?? "Round trip"
        return figure(
            "\(what) at \(Quantity.size(size))",
            "Dot and number: median. Thick bar: up to p99. Thin bar: up to p99.9. Logarithmic. Signals and eventfds carry 8 B.",
            "latency", height: height, body)
    }

    struct Point {
        let x: Double
        let y: Double
        let label: String
    }

    struct Line {
        let name: String
        let color: String
        let points: [Point]
    }

    /// Bytes per second against the size of a message, a line for each mechanism.
    static func throughputs(_ result: BenchmarkResult) -> String {
        let items = result.measurements.filter {
            $0.measure == .throughput && $0.implementation == .swift && $0.mechanism.fixedPayload == nil
        }
        let series = Mechanism.allCases.enumerated().map { index, mechanism in
            Line(
                name: mechanism.rawValue, color: colors[index % colors.count],
                points: items.filter { $0.mechanism == mechanism }.sorted { $0.payloadBytes < $1.payloadBytes }.map {
                    Point(x: Double($0.payloadBytes), y: $0.bytesPerSecond ?? 0, label: Quantity.size($0.payloadBytes))
                })
        }
        return lines(
            "Throughput against message size",
            "Bytes per second, logarithmic on both axes; the payload is written and read.",
            "throughput", series, unit: Quantity.bandwidth)
    }

    /// A line for each series, on logarithmic scales.
    ///
    /// - Parameter unit: Writes a figure of the vertical scale.
    static func lines(
        _ title: String, _ caption: String, _ id: String, _ series: [Line], unit: (Double) -> String
    ) -> String {
        let all = series.flatMap(\.points)
        guard !all.isEmpty else { return "" }
        let height = 420.0
        let x = Scale(all.map(\.x), from: 80, to: width - 170)
        let y = Scale(all.map(\.y), from: height - 40, to: 20)
        var body = y.powers.flatMap { power in
            [
                line(80, y(power), width - 170, y(power)),
                text(72, y(power) + 4, unit(power), anchor: "end", faint: true),
            ]
        }
        for (place, label) in Dictionary(all.map { ($0.x, $0.label) }, uniquingKeysWith: { first, _ in first })
            .sorted(by: { $0.key < $1.key })
        {
            body.append(line(x(place), 20, x(place), height - 40))
            body.append(text(x(place), height - 20, label, anchor: "middle", faint: true))
        }
        var labels: [(y: Double, text: String, color: String)] = []
        for own in series {
            guard let last = own.points.last else { continue }
            let points = own.points.map { "\(number(x($0.x))),\(number(y($0.y)))" }
            body.append(
                "<polyline points=\"\(points.joined(separator: " "))\" fill=\"none\" stroke=\"\(own.color)\" stroke-width=\"2\"/>"
            )
            for point in own.points {
                body.append(
                    "<circle cx=\"\(number(x(point.x)))\" cy=\"\(number(y(point.y)))\" r=\"3\" fill=\"\(own.color)\"/>"
                )
            }
            labels.append((y(last.y), own.name, own.color))
        }
        // Labels apart from each other, in the order of their lines.
        var lowest = 0.0
        for label in labels.sorted(by: { $0.y < $1.y }) {
            let position = max(label.y + 4, lowest + 14)
            lowest = position
            body.append(
                "<rect x=\"\(number(width - 160))\" y=\"\(number(position - 9))\" width=\"10\" height=\"10\" fill=\"\(label.color)\"/>"
            )
            body.append(text(width - 145, position, label.text))
        }
        return figure(title, caption, id, height: max(height, lowest + 10), body)
    }
}
