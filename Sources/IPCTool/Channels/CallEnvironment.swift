import ArgumentParser
import Glibc
import IPC
import IPCChannels

/// What a command that answers a call has in its environment of the call.
///
/// Whoever calls chooses the metadata, and need not be this program. It can set no variable but those that begin with
/// `IPC_METADATA_`; and what begins so is of the caller, and not what somebody who started the server had.
enum CallEnvironment {
    struct Pair: Sendable {
        let key: String
        let value: String
    }

    private static let metadataPrefix = "IPC_METADATA_"
    private static let processName = "IPC_CALLER_PID"
    private static let userName = "IPC_CALLER_USER"

    /// A pair on the command line: `key=value`.
    static let pair: @Sendable (String) throws -> Pair = { text in
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, isKey(parts[0]) else {
            throw ValidationError("expected key=value; a key has only letters (A to Z, a to z), digits and _.")
        }
        return Pair(key: parts[0], value: parts[1])
    }

    /// The same of a call.
    static func variables(_ call: CallContext) -> [String: String] {
        var variables = metadata(call.metadata)
        variables["IPC_ATTEMPT"] = "\(call.attempt)"
        if let caller = try? call.identifyCaller() {
            variables[processName] = "\(caller.process)"
            variables[userName] = "\(caller.user)"
        }
        return variables
    }

    /// Those that can be variables, and of which it is clear which.
    static func metadata(_ metadata: [String: String]) -> [String: String] {
        let valid = metadata.filter { isKey($0.key) && !$0.value.utf8.contains(0) }
        var variables: [String: String] = [:]
        for (name, pairs) in Dictionary(grouping: valid, by: { $0.key.uppercased() }) where pairs.count == 1 {
            variables[metadataPrefix + name] = pairs[0].value
        }
        return variables
    }

    /// Letters of ASCII, digits, and `_`: by bytes, since a letter may have accents that are scalars of their own.
    private static func isKey(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }

    /// Takes those variables out of this process's own environment: a command that finds one takes it for the caller's. While this is the
    /// only thread.
    static func forgetInherited() {
        let names = ["IPC_ATTEMPT", processName, userName]
        var inherited: [[CChar]] = []
        var next = unsafe environ
        while let entry = unsafe next.pointee {
            let name = unsafe UnsafeBufferPointer(start: entry, count: strcspn(entry, "="))
            let text = unsafe String(decoding: name.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if text.hasPrefix(metadataPrefix) || names.contains(text) { inherited.append(unsafe Array(name) + [0]) }
            unsafe next += 1
        }
        for name in inherited { unsafe unsetenv(name) }
    }
}
