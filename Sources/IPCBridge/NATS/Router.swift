#if NATS
    import Synchronization

    /// What messages are delivered to. It is called on the threads of the library and must not block.
    protocol MessageReceiver: AnyObject, Sendable {
        func receive(_ message: NATSMessage)
        /// The connection was lost: what was asked over it may never be answered.
        func connectionWasLost()
        /// A stream, or this consumer of it, has a new leader, which knows nothing of requests to the old one.
        func leaderChanged(stream: String, consumer: String?)
        /// The connection is closed for good.
        func connectionWasClosed()
    }

    extension MessageReceiver {
        func leaderChanged(stream: String, consumer: String?) {}
    }

    /// Delivers the messages of the one inbox to receivers, by the token after the inbox, or for messages of consumers, which keep
    /// the subject of their stream, by the names of stream and consumer in the reply subject.
    final class Router: Sendable {
        private struct Weak { weak var receiver: (any MessageReceiver)? }
        private struct WeakReader { weak var reader: StreamReader? }
        private struct State {
            var receivers: [String: Weak] = [:]
            /// By the name of the stream.
            var readers: [String: WeakReader] = [:]
            var issued: UInt64 = 0
        }
        private let state = Mutex(State())
        /// With the point after it.
        let prefix: String

        init() {
            let letters = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
            prefix = "_INBOX.ipc" + String((0..<19).map { _ in letters.randomElement()! }) + "."
        }

        /// A token that no other receiver of this connection has.
        func makeToken() -> String {
            state.withLock { state in
                state.issued += 1
                return String(state.issued, radix: 36)
            }
        }

        func add(_ receiver: any MessageReceiver, for key: String) {
            state.withLock { $0.receivers[key] = Weak(receiver: receiver) }
        }

        func remove(_ key: String) { state.withLock { _ = $0.receivers.removeValue(forKey: key) } }

        func deliver(_ message: NATSMessage) {
            guard let key = key(of: message) else { return }
            state.withLock { $0.receivers[key]?.receiver }?.receive(message)
        }

        private func key(of message: NATSMessage) -> String? {
            guard message.hasSubject(withPrefix: prefix) else { return message.source }
            let rest = message.subject.utf8.dropFirst(prefix.utf8.count)
            return String(Substring(rest.prefix { $0 != UInt8(ascii: ".") }))
        }

        /// `$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.<stream>` or `….CONSUMER.LEADER_ELECTED.<stream>.<consumer>`.
        func advise(_ message: NATSMessage) {
            let tokens = message.subject.split(separator: ".")
            guard tokens.count >= 6 else { return }
            let consumer = tokens.count > 6 ? String(tokens[6]) : nil
            for receiver in all() { receiver.leaderChanged(stream: String(tokens[5]), consumer: consumer) }
        }

        /// Adds a reader that is to be told of hints: one for each stream.
        func add(reader: StreamReader, of stream: String) {
            state.withLock { $0.readers[stream] = WeakReader(reader: reader) }
        }

        /// Removes it, unless another one has come.
        func removeReader(of stream: String) {
            state.withLock { if $0.readers[stream]?.reader == nil { $0.readers[stream] = nil } }
        }

        /// A hint: a stream, the last token of the subject, was idle, and has a message of this sequence now.
        func hint(_ message: NATSMessage) {
            guard let stream = message.subject.split(separator: ".").last,
                let sequence = message.withBytes({ UInt64(String(decoding: $0, as: UTF8.self)) })
            else { return }
            state.withLock { $0.readers[String(stream)]?.reader }?.nudge(knownSequence: sequence)
        }

        func connectionWasLost() { for receiver in all() { receiver.connectionWasLost() } }

        func connectionWasClosed() { for receiver in all() { receiver.connectionWasClosed() } }

        private func all() -> [any MessageReceiver] {
            state.withLock { $0.receivers.values.compactMap { $0.receiver } }
        }
    }
#endif
