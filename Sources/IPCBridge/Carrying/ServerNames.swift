#if NATS
    import IPCChannels

    /// The names of streams, buckets, keys and subjects on the server. Different channels never share one.
    ///
    /// A machine and a channel consist of letters, digits, `-`, `_` and `.`, a channel also of slashes. In subjects and keys each word of a
    /// channel is a token, and a dot is `=`: `market/eu.west` is `market.eu=west`. In the names of streams, words are joined by `=`, and a
    /// dot is `%`. The prefix contains neither `-` nor `.`, so that no name of one prefix is one of another.
    struct ServerNames: Hashable, Sendable {
        /// What a name is for.
        enum Kind: String, Sendable {
            case topic = "t"
            case bestEffort = "b"
            case queue = "q"
            case service = "s"
            case cancellation = "c"
            case event = "e"
            /// That a stream which was idle has something.
            case hint = "h"
        }

        let prefix: String

        /// The stream of a channel of one machine, at most 200 bytes long.
        func stream(_ kind: Kind, of machine: Machine, _ channel: ChannelName) -> String {
            let machine = Self.replacing(machine.name, [".": "%"])
            let name =
                "\(prefix)-\(kind.rawValue)-\(machine)=\(Self.replacing(channel.description, ["/": "=", ".": "%"]))"
            guard name.utf8.count > 200 else { return name }
            // The names of channels and machines are ASCII.
            let hash = String(Machine.hash(name), radix: 16)
            return name.prefix(150) + "+" + String(repeating: "0", count: 16 - hash.count) + hash
        }

        /// The beginning of the names of all streams of a kind.
        func streams(_ kind: Kind) -> String { "\(prefix)-\(kind.rawValue)-" }

        /// What a machine publishes of a channel.
        func subject(_ kind: Kind, of machine: Machine, _ channel: ChannelName) -> String {
            "\(prefix).\(kind.rawValue).\(Self.token(machine.name)).\(key(channel))"
        }

        /// The same of every machine: for subscriptions.
        func subjectOfAll(_ kind: Kind, _ channel: ChannelName) -> String {
            "\(prefix).\(kind.rawValue).*.\(key(channel))"
        }

        /// A subject that all machines share, such as that of a service.
        func subject(_ kind: Kind, _ channel: ChannelName) -> String { "\(prefix).\(kind.rawValue).\(key(channel))" }

        /// A subject for one thing, such as a call.
        ///
        /// - Parameter identifier: A token: letters and digits.
        func subject(_ kind: Kind, _ identifier: String) -> String { "\(prefix).\(kind.rawValue).\(identifier)" }

        /// The bucket of the newest values.
        var latestBucket: String { "\(prefix)-latest" }
        /// The bucket of what channels there are.
        var directoryBucket: String { "\(prefix)-channels" }

        /// A channel as the tokens of a subject, or as the key of a bucket.
        func key(_ channel: ChannelName) -> String { Self.replacing(channel.description, ["/": ".", ".": "="]) }

        /// The key of a directory entry.
        func directoryKey(_ pattern: ChannelPattern, _ machine: Machine, _ channel: ChannelName) -> String {
            "\(pattern.rawValue).\(Self.token(machine.name)).\(key(channel))"
        }

        /// What the key of a directory entry says; nil if it is none.
        func parts(ofDirectoryKey key: String) -> (pattern: ChannelPattern, machine: Machine, channel: ChannelName)? {
            let tokens = key.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
            guard tokens.count == 3, let number = UInt32(tokens[0]), let pattern = ChannelPattern(rawValue: number),
                let machine = Machine(Self.replacing(String(tokens[1]), ["=": "."])),
                let channel = try? ChannelName(Self.replacing(String(tokens[2]), [".": "/", "=": "."])),
                directoryKey(pattern, machine, channel) == key
            else { return nil }
            return (pattern, machine, channel)
        }

        private static func token(_ word: String) -> String { replacing(word, [".": "="]) }

        private static func replacing(_ text: String, _ characters: [Character: Character]) -> String {
            String(text.map { characters[$0] ?? $0 })
        }
    }
#endif
