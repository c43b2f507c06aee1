import IPC
import IPCChannels

/// What the bridges of a root say about themselves in their channels, `bridge/PREFIX/MACHINE/status`.
struct BridgeLines {
    /// What one bridge does with one channel.
    struct Carried {
        let bridge: String
        let direction: String
        let state: String
        /// Why it waits, or does not carry.
        let reason: String?
        let carried, behind, redelivered, dropped: Int

        /// `robot-1 in from robot-2: carrying, 1200 carried, 3 behind`
        var line: String {
            var line = "bridge \(bridge) \(direction): \(state), \(carried) carried"
            for (count, word) in [(behind, "behind"), (redelivered, "redelivered"), (dropped, "dropped")]
            where count > 0 {
                line += ", \(count) \(word)"
            }
            return line + (reason.map { ": \($0)" } ?? "")
        }
    }

    /// A line for each bridge.
    private(set) var heads: [String] = []
    /// By channel.
    private(set) var carried: [String: [Carried]] = [:]

    static func isStatus(_ name: ChannelName) -> Bool {
        name.description.hasPrefix("bridge/") && name.description.hasSuffix("/status")
    }

    /// Adds what a bridge says.
    mutating func add(_ description: ChannelDescription, in root: ChannelRoot) throws(IPCError) {
        guard description.pattern == .latest else { return }
        var observer = try AnyChannel.open(description.name.description, in: root).makeObserver()
        let text = String(decoding: try observer.tryReceive() ?? [], as: UTF8.self)
        guard let status = try? JSONValue(parsing: text), let machine = Self.text(status["machine"]) else { return }
        let isAlive = description.participants.contains { $0.role == .writer && $0.isAlive }
        var carriers: [JSONValue] = []
        if case .array(let values) = status["carriers"] { carriers = values }
        for carrier in carriers {
            guard let channel = Self.text(carrier["channel"]) else { continue }
            let from = Self.text(carrier["from"]).map { " from \($0)" } ?? ""
            carried[channel, default: []].append(
                Carried(
                    bridge: machine, direction: (Self.text(carrier["direction"]) ?? "") + from,
                    state: isAlive ? Self.text(carrier["state"]) ?? "" : "dead", reason: Self.text(carrier["reason"]),
                    carried: Self.number(carrier["carried"]), behind: Self.number(carrier["behind"]),
                    redelivered: Self.number(carrier["redelivered"]), dropped: Self.number(carrier["dropped"])))
        }
        let behind = carriers.reduce(0) { $0 &+ Self.number($1["behind"]) }
        let refused = carriers.count { Self.text($0["state"]) == "refused" }
        let roundTrip = Self.text(status["roundTripMicroseconds"]).map { ", round trip \($0) µs" } ?? ""
        let state = !isAlive ? "dead" : status["connected"] == .bool(true) ? "connected\(roundTrip)" : "not connected"
        heads.append(
            "bridge \(machine): \(state), \(carriers.count) carriers, \(behind) behind"
                + (refused > 0 ? ", \(refused) refused: ipc bridge status" : ""))
    }

    private static func text(_ value: JSONValue?) -> String? {
        switch value {
        case .string(let text), .number(let text): text
        default: nil
        }
    }

    private static func number(_ value: JSONValue?) -> Int {
        guard case .number(let text) = value else { return 0 }
        return Int(text) ?? 0
    }
}
