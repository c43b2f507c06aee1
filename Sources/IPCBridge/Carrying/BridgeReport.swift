#if NATS
    import Glibc
    import IPC
    import IPCChannels

    /// What a bridge says about itself, for commands.
    package struct BridgeReport: Sendable {
        /// `bridge/PREFIX/MACHINE/status`.
        package let name: ChannelName
        /// Whether it runs, according to the kernel.
        package let isAlive: Bool
        /// What it said last: an object. Null if it has said nothing.
        package let status: JSONValue

        /// All bridges that run in a root, and those that died.
        package static func all(in root: ChannelRoot) throws(IPCError) -> [BridgeReport] {
            var reports: [BridgeReport] = []
            for name in try root.names() where BridgeStatus.isStatus(name) {
                // One that ends at this moment is not told.
                guard let description = try? ChannelDescription(name, in: root, countsMessages: false),
                    description.pattern == .latest, let channel = try? AnyChannel.open(name.description, in: root)
                else { continue }
                let isAlive = description.participants.contains { $0.role == .writer && $0.isAlive }
                var observer = try channel.makeObserver()
                let bytes = try observer.tryReceive() ?? []
                let status = (try? JSONValue(parsing: String(decoding: bytes, as: UTF8.self))) ?? .null
                reports.append(BridgeReport(name: name, isAlive: isAlive, status: status))
            }
            return reports
        }

        /// The path of the default root, for messages.
        package static var root: String { ChannelRoot.current.path }

        /// All of them as one list.
        package static func json(_ reports: [BridgeReport]) -> String {
            JSONValue.array(
                reports.map { report in
                    guard case .object(let members) = report.status else {
                        return .members([("name", .string("\(report.name)")), ("alive", .bool(report.isAlive))])
                    }
                    return .object([JSONValue.Member("alive", .bool(report.isAlive))] + members)
                }
            ).text
        }

        /// For people: a line for each bridge, and a table of what it carries.
        package static func lines(_ reports: [BridgeReport]) -> [String] {
            reports.flatMap { report in [report.head] + report.table }
        }

        private var head: String {
            let machine = Self.text(status["machine"]) ?? "\(name)"
            guard isAlive else { return "\(machine): dead; the last that it said:" }
            let process = Self.text(status["process"]).map { ", process \($0)" } ?? ""
            guard case .bool(true) = status["connected"] else {
                let reason = Self.text(status["lastError"]).map { ": \($0)" } ?? ""
                return "\(machine): not connected\(process)\(reason)"
            }
            let roundTrip = Self.text(status["roundTripMicroseconds"]).map { ", round trip \($0) µs" } ?? ""
            let times = Self.text(status["connections"]).map { $0 == "1" ? "" : ", connected \($0) times" } ?? ""
            let reason = Self.text(status["lastError"]).map { "; \($0)" } ?? ""
            return "\(machine): connected\(process)\(roundTrip)\(times)\(reason)"
        }

        private var table: [String] {
            guard case .array(let carriers) = status["carriers"], !carriers.isEmpty else {
                return ["  carries nothing"]
            }
            var rows = [["channel", "pattern", "direction", "state", "carried", "behind", "redelivered", "dropped"]]
            var reasons: [String] = []
            for carrier in carriers {
                func text(_ key: String) -> String { Self.text(carrier[key]) ?? "-" }
                let direction = text("direction") + (carrier["from"].map { " from \(Self.text($0) ?? "-")" } ?? "")
                rows.append(
                    [text("channel"), text("pattern"), direction]
                        + ["state", "carried", "behind", "redelivered", "dropped"].map(text))
                if let reason = Self.text(carrier["reason"]) {
                    reasons.append("  \(text("channel")), \(direction): \(reason)")
                }
            }
            let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
            let lines = rows.map { row in
                let cells = row.enumerated().map { index, cell in
                    let space = String(repeating: " ", count: widths[index] - cell.count)
                    return index >= 4 ? space + cell : cell + space
                }
                return "  " + cells.joined(separator: "  ")
            }
            return lines + reasons
        }

        private static func text(_ value: JSONValue?) -> String? {
            switch value {
            case .string(let text), .number(let text): text
            default: nil
            }
        }
    }

    extension BridgeConfiguration {
        /// What a check prints: the rules, and which channels of this root each one carries.
        package func summary(in root: ChannelRoot) throws(IPCError) -> [String] {
            var channels: [ChannelRule: [ChannelName]] = [:]
            for name in try root.names() {
                guard let pattern = try? ChannelDescription(name, in: root, countsMessages: false).pattern,
                    let rule = rule(for: name, pattern)
                else { continue }
                channels[rule, default: []].append(name)
            }
            var lines = [
                "machine \(machine), prefix \(prefix), servers \(servers.servers.joined(separator: ", "))"
            ]
            for (index, rule) in rules.enumerated() {
                let pattern = ChannelRule.patterns.first { $0.1 == rule.pattern }?.0 ?? "all patterns"
                lines.append("channels[\(index)]: \(rule.name), \(pattern), \(rule.direction)")
                lines += (channels[rule] ?? []).map { "  \($0)" }
                if channels[rule] == nil { lines.append("  no channel here yet") }
            }
            return lines
        }
    }
#endif
