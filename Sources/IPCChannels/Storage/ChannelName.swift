import IPC

/// The checked name of a channel: words joined by slashes, such as `market/quotes`.
///
/// A word consists of letters, digits, `-`, `_` and `.`, and does not begin with a dot. A name has 1 to 200 bytes. The folder of a
/// channel has the same name with `:` for each slash, so that `market` and `market/quotes` can both be channels.
public struct ChannelName: Hashable, Sendable, CustomStringConvertible {
    public let description: String

    /// - Throws: ``/IPC/IPCError/Code/invalidName``.
    public init(_ name: String) throws(IPCError) {
        func invalid(_ reason: String) -> IPCError { IPCError(.invalidName, "channel", name, advice: reason) }
        guard !name.isEmpty, name.utf8.count <= 200 else { throw invalid("a channel's name has 1 to 200 bytes") }
        for word in name.split(separator: "/", omittingEmptySubsequences: false) {
            guard !word.isEmpty else {
                throw invalid("a word is missing beside a slash; write, for example, market/quotes")
            }
            guard word.first != "." else { throw invalid("a word of a name cannot begin with a dot") }
            guard word.utf8.allSatisfy(Self.isAllowed) else {
                throw invalid("a name consists of letters, digits, '-', '_' and '.', with slashes between its words")
            }
        }
        description = name
    }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
            true
        default: false
        }
    }

    /// The name of its folder.
    var folder: String { String(description.map { $0 == "/" ? ":" : $0 }) }

    /// The channel whose folder has this name; nil if it is not a channel's folder.
    init?(folder: String) {
        guard !folder.contains("/"), let name = try? ChannelName(String(folder.map { $0 == ":" ? "/" : $0 })) else {
            return nil
        }
        self = name
    }
}
