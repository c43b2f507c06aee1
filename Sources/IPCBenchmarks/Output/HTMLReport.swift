/// One self-contained page: charts as SVG, and the numbers as tables below. It needs no network and no script.
public enum HTMLReport {
    public static func text(_ result: BenchmarkResult) -> String {
        let machine = result.machine
        var limits = ""
        if let found = result.limits {
            let line =
                found.line.map {
                    "cache-line floor: round trip \(Quantity.time($0.latency.p50)) (\(escaped($0.loop.name))); "
                } ?? ""
            limits =
                "<p>Machine limits: \(line)memory copy \(Quantity.bandwidth(found.copyBytesPerSecond)) in the cache, "
                + "\(Quantity.bandwidth(found.farCopyBytesPerSecond)) beyond it.</p>"
        }
        let answers = Questions.answers(result).map {
            "<h3>\(escaped($0.question))</h3><p>\(escaped($0.answer))</p>"
        }.joined(separator: "\n")
        return page(
            title: "ipc bench", heading: "Inter-process communication, measured",
            """
            <p>\(escaped(machine.description)). Placement <b>\(result.options.placement.rawValue)</b>; two processes for \
            each figure.</p>
            \(limits)
            \(result.isInterrupted ? "<p><b>Stopped by the user: some figures are missing.</b></p>" : "")
            \(Charts.latencies(result))
            \(Charts.throughputs(result))
            <h2>Questions</h2>
            \(answers)
            <h2>Figures</h2>
            \(table(result))
            \(ratios(result))
            \(omissions(result))
            """)
    }

    static func page(title: String, heading: String, _ body: String) -> String {
        """
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>\(title)</title>
        <style>\(style)</style>
        </head>
        <body>
        <main>
        <h1>\(heading)</h1>
        \(body)
        </main>
        </body>
        </html>

        """
    }

    static func escaped(_ text: String) -> String {
        var escaped = ""
        for character in text {
            switch character {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            default: escaped.append(character)
            }
        }
        return escaped
    }

    private static func rows(_ head: [String], _ body: [[String]], id: String) -> String {
        let headCells = head.map { "<th>\(escaped($0))</th>" }.joined()
        let bodyRows = body.map { row in "<tr>" + row.map { "<td>\(escaped($0))</td>" }.joined() + "</tr>" }
        return """
            <div class="scroll"><table id="\(id)"><thead><tr>\(headCells)</tr></thead>
            <tbody>\(bodyRows.joined(separator: "\n"))</tbody></table></div>
            """
    }

    private static func table(_ result: BenchmarkResult) -> String {
        rows(
            ["mechanism", "code", "measure", "size", "p50", "p99", "p99.9", "max", "messages", "bytes", "count"],
            result.measurements.map { item in
                let latency = item.latency
                return [
                    item.mechanism.rawValue, item.implementation.rawValue, item.measure.rawValue,
                    Quantity.size(item.payloadBytes), latency.map { Quantity.time($0.p50) } ?? "",
                    latency.map { Quantity.time($0.p99) } ?? "", latency.map { Quantity.time($0.p999) } ?? "",
                    latency.map { Quantity.time($0.max) } ?? "", item.messagesPerSecond.map { Quantity.rate($0) } ?? "",
                    item.bytesPerSecond.map { Quantity.bandwidth($0) } ?? "", "\(item.count)",
                ]
            }, id: "figures")
    }

    private static func ratios(_ result: BenchmarkResult) -> String {
        guard !result.ratios.isEmpty else { return "" }
        return "<h2>Compared with the same loop in C</h2>"
            + rows(
                ["mechanism", "size"] + result.options.ratioHeads,
                result.ratios.map { [$0.mechanism.rawValue, Quantity.size($0.payloadBytes)] + $0.texts }, id: "ratios")
    }

    private static func omissions(_ result: BenchmarkResult) -> String {
        guard !result.omissions.isEmpty else { return "" }
        let items = result.omissions.map {
            "<li>\(escaped($0.mechanism.rawValue)) at \(Quantity.size($0.payloadBytes)): \(escaped($0.reason))</li>"
        }
        return "<h2>Not measured</h2><ul>\(items.joined())</ul>"
    }

    private static let style = """
        :root { --ink: #1b1f24; --faint: #6b7280; --line: #d8dce2; --paper: #ffffff; --panel: #f6f7f9; }
        @media (prefers-color-scheme: dark) {
        :root { --ink: #e6e8eb; --faint: #9aa3ad; --line: #343a42; --paper: #15181c; --panel: #1d2126; }
        }
        body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
        main { max-width: 960px; margin: 0 auto; padding: 1rem; }
        h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; } h3 { font-size: 1rem; margin-bottom: 0; }
        figure { margin: 1rem 0; padding: .5rem; background: var(--panel); border-radius: 8px; overflow-x: auto; }
        figcaption { color: var(--faint); font-size: .9rem; }
        svg { width: 100%; min-width: 520px; height: auto; display: block; }
        svg text { fill: var(--ink); font: 12px system-ui, sans-serif; } svg .axis { stroke: var(--line); }
        svg .faint { fill: var(--faint); }
        .scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; white-space: nowrap; }
        th, td { text-align: right; padding: .2rem .6rem; border-bottom: 1px solid var(--line); }
        th:first-child, td:first-child, th:nth-child(2), td:nth-child(2), th:nth-child(3), td:nth-child(3)
        { text-align: left; }
        """
}
