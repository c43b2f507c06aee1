#if NATS
    /// What the server forbids this user, as the server has said.
    struct Violation: Hashable, Sendable, CustomStringConvertible {
        enum Action: String, Sendable { case publish, subscribe }

        let action: Action
        /// What would have to be allowed: the subject, or its beginning where the rest is different each time.
        let permission: String

        init(_ action: Action, _ subject: String) {
            self.action = action
            let tokens = subject.split(separator: ".", omittingEmptySubsequences: false)
            let known = ["_INBOX": 1, "$JS": 2, "$KV": 2][String(tokens[0])] ?? tokens.count
            permission = known < tokens.count ? tokens[..<known].joined(separator: ".") + ".>" : subject
        }

        /// Reads an error of the server, such as `Permissions Violation for Publish to "ipc.t.a.b"`.
        ///
        /// - Returns: Nil if it is another error.
        init?(_ text: String) {
            let parts = text.split(separator: "\"", omittingEmptySubsequences: false)
            let start = parts[0].lowercased()
            guard parts.count >= 2, !parts[1].isEmpty, start.hasPrefix("permissions violation") else { return nil }
            self.init(start.contains("subscription") ? .subscribe : .publish, String(parts[1]))
        }

        var description: String {
            switch action {
            case .publish:
                "the server forbids this user to publish to \(permission); allow it in the server's permissions"
            case .subscribe:
                "the server forbids this user to subscribe to \(permission); allow it in the server's permissions"
            }
        }
    }
#endif
