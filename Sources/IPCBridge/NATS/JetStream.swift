#if NATS
    import IPCChannels

    /// JetStream's requests: JSON in a message to `$JS.API.…`, and one message in answer.
    extension NATSConnection {
        /// One request.
        /// - Parameters:
        ///   - call: The subject after `$JS.API.`.
        ///   - what: What is asked for, in words for an error.
        /// - Throws: `.refused` with JetStream's reason, and what `request` throws.
        func api(
            _ call: String, _ body: JSONValue? = nil, what: String, timeout: Duration = .seconds(5)
        ) async throws(BridgeError) -> JSONValue {
            try await request("$JS.API.\(call)", Array((body?.text ?? "").utf8), timeout: timeout).answer(to: what)
        }

        /// Stores one message in the stream that takes this subject.
        /// - Parameter what: What is asked for, in words for an error.
        /// - Returns: Its sequence.
        /// - Throws: As `api`.
        func store(
            _ subject: String, headers: [(String, String)], _ body: [UInt8], what: String
        ) async throws(BridgeError) -> UInt64 {
            let answer = try await request(subject, headers: headers, body, timeout: .seconds(5)).answer(to: what)
            guard let sequence = answer.unsigned("seq") else { throw .malformed("a sequence is missing") }
            return sequence
        }

        /// Does it again while it fails for a reason that passes: servers are down, have no majority, or changed their leader.
        ///
        /// Why it is done again is told to ``RetryObserver``.
        /// - Throws: The last reason when the time is over.
        func retrying<Value>(
            for time: Duration, _ body: () async throws(BridgeError) -> Value
        ) async throws(BridgeError) -> Value {
            let deadline = ContinuousClock.now + time
            var observer: RetryObserver?
            defer { observer?.note(nil) }
            while true {
                do throws(BridgeError) {
                    return try await body()
                } catch {
                    guard error.mayPass, .now < deadline else { throw error }
                    observer = RetryObserver.current
                    observer?.note(error)
                }
                if !isConnected { try await waitUntilConnected(for: deadline - .now) }
                try await pause(.milliseconds(100))
            }
        }
    }

    /// Waits.
    func pause(_ time: Duration) async throws(BridgeError) {
        do { try await Task.sleep(for: time) } catch { throw .cancelled }
    }

    extension NATSMessage {
        /// What JetStream answers.
        /// - Throws: `.refused` with its reason.
        fileprivate func answer(to what: String) throws(BridgeError) -> JSONValue {
            let json = try json()
            guard let error = json["error"] else { return json }
            throw .refused(
                what: what, code: error["code"]?.integer ?? 0, error: error["err_code"]?.integer ?? 0,
                description: error["description"]?.string ?? "no reason is given")
        }

        func json() throws(BridgeError) -> JSONValue {
            let text = withBytes { String(validating: $0, as: UTF8.self) }
            guard let text else { throw .malformed("its text is not UTF-8") }
            do throws(JSONError) { return try JSONValue(parsing: text) } catch { throw .malformed(error.reason) }
        }
    }

    extension JSONValue {
        func unsigned(_ key: String) -> UInt64? {
            guard case .number(let text)? = self[key] else { return nil }
            return UInt64(text)
        }

        var integer: Int? {
            guard case .number(let text) = self else { return nil }
            return Int(text)
        }

        var string: String? {
            guard case .string(let text) = self else { return nil }
            return text
        }

        /// The members of an object whose values are strings.
        var strings: [String: String] {
            guard case .object(let members) = self else { return [:] }
            var strings: [String: String] = [:]
            for member in members { if let text = member.value.string { strings[member.key] = text } }
            return strings
        }

        /// The object with these members in the place of its own.
        func merging(_ other: JSONValue) -> JSONValue {
            guard case .object(let ours) = self, case .object(let theirs) = other else { return other }
            return .object(ours.filter { other[$0.key] == nil } + theirs)
        }
    }
#endif
