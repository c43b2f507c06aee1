#if NATS
    /// Why something between machines failed. Its text names the thing and the way out.
    enum BridgeError: Error, Equatable {
        /// No server can be reached now; the last thing that the library said of it.
        case notConnected(String)
        /// The connection was lost while an answer was awaited: it may have been done or not.
        case connectionLost
        /// The connection or the mailbox was closed.
        case closed
        /// The task was cancelled.
        case cancelled
        /// No answer came in time.
        case timedOut(String)
        /// Nobody takes what is sent to this subject.
        case noResponders(String)
        /// A message is larger than the server takes.
        case tooLarge(bytes: Int, limit: Int)
        /// So much waits to be sent that the network takes no more.
        case congested(bytes: Int)
        /// JetStream refused a request. `error` is its own number, `code` that of HTTP.
        case refused(what: String, code: Int, error: Int, description: String)
        /// What was published may be stored or not: ask the stream for its last sequence.
        case doubt(stream: String, reason: String)
        /// An answer that JetStream does not give.
        case malformed(String)
        /// There is another stream of this name than before: what was known of its sequences says nothing.
        case madeAnew(stream: String)
        /// The server forbids something to this user, and what.
        case forbidden(String)
        /// Somebody woke the task that waited at a mailbox.
        case interrupted
        /// The configuration of the connection cannot be used.
        case configuration(String)
    }

    extension BridgeError: CustomStringConvertible {
        var description: String {
            switch self {
            case .notConnected(let reason): "There is no connection to a NATS server: \(reason)."
            case .connectionLost: "The connection to the NATS server was lost before an answer came."
            case .closed: "The connection to the NATS server is closed."
            case .cancelled: "The task was cancelled."
            case .timedOut(let what): "No answer came in time: \(what)."
            case .noResponders(let subject):
                "Nobody takes what is sent to \(subject)"
                    + (subject.hasPrefix("$JS.")
                        ? ": JetStream is not enabled on the server, or has no majority of its servers." : ".")
            case .tooLarge(let bytes, let limit):
                "A message of \(bytes) bytes is larger than the server takes: "
                    + "raise max_payload of the server above its \(limit) bytes."
            case .congested(let bytes): "The network is slower than what is sent: \(bytes) bytes wait already."
            case .refused(let what, _, let error, let description):
                "The server refused \(what): \(description) (JetStream's error \(error))."
                    + (error == 10047 ? " Keep less (keep.bytes), or raise max_file of the server." : "")
            case .doubt(let stream, let reason): "It is in doubt what the stream \(stream) has stored: \(reason)."
            case .malformed(let what): "An answer of the server is not as JetStream defines it: \(what)."
            case .madeAnew(let stream):
                "The server has another stream \(stream) than before: it was deleted and made anew."
            case .forbidden(let what): what
            case .interrupted: "A wait for messages was interrupted."
            case .configuration(let what): what
            }
        }
    }

    extension BridgeError {
        /// JetStream's number of the error; nil if it is none of JetStream.
        var apiError: Int? {
            guard case .refused(_, _, let error, _) = self else { return nil }
            return error
        }

        /// Whether a key or a stream had another sequence than was expected.
        var isOtherRevision: Bool { apiError == 10071 || apiError == 10164 }

        /// Whether there is no such stream.
        var isNoStream: Bool { apiError == 10059 }

        /// Whether the same request may succeed when a server or the majority is back.
        var mayPass: Bool {
            switch self {
            case .notConnected, .connectionLost, .timedOut, .noResponders, .congested: true
            // 10005: no peers for the replicas, as long as too few servers run.
            case .refused(_, let code, let error, _): code >= 500 || error == 10005
            default: false
            }
        }
    }
#endif
