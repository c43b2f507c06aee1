#if NATS
    import IPC
    import IPCChannels

    /// The right of one outbox to write to the stream of its machine's jobs.
    ///
    /// The number of the era is in the only subject that the stream takes. Who begins another era changes the subject: from then on the server
    /// takes nothing from whoever wrote before. So while a stream has the subject of an era, all that came after the era's beginning is of
    /// one outbox, also the jobs that workers have done and removed since. A stream that was made anew, of a server with another store, has
    /// the subject of no era before.
    struct JobEra: Sendable {
        /// Not 0.
        let number: UInt64
        let stream: String
        let subject: String
        /// The sequence that the stream ended with.
        let last: UInt64
        /// Whether it begins: what is stored is of others.
        let isNew: Bool
        /// Whether others have written to the stream since the era that was asked for.
        let isTakenBack: Bool

        /// Goes on in an era, or begins another one where the stream does not have its subject any more.
        ///
        /// - Parameter known: The era to go on in; 0 to begin one.
        static func enter(_ context: CarrierContext, _ channel: AnyChannel, known: UInt64) async throws -> JobEra {
            let stream = context.names.stream(.queue, of: context.machine, context.name)
            let present = try await context.connection.streamState(stream)
            let isTakenBack = known != 0 && present.map { $0.subjects != [subject(known, context)] } ?? false
            if known != 0, let present, !isTakenBack {
                let metadata = CarriedSchema.metadata(channel, context.machine, context.name)
                let isAsWanted =
                    present.replicas == context.rule.replicas
                    && metadata.allSatisfy { present.metadata[$0.key] == $0.value }
                let state = isAsWanted ? present : try await ensure(known, stream, channel, context)
                return JobEra(
                    number: known, stream: stream, subject: subject(known, context), last: state.lastSequence,
                    isNew: false, isTakenBack: false)
            }
            let number = UInt64.random(in: 1 ... .max)
            while true {
                let state = try await ensure(number, stream, channel, context)
                guard let last = try await begin(subject(number, context), after: state.lastSequence, context) else {
                    continue
                }
                _ = try? await context.connection.api(
                    "STREAM.MSG.DELETE.\(stream)",
                    .members([("seq", .integer(last)), ("no_erase", .bool(true))]),
                    what: "to remove the beginning of an era of the stream \(stream)")
                return JobEra(
                    number: number, stream: stream, subject: subject(number, context), last: last, isNew: true,
                    isTakenBack: isTakenBack)
            }
        }

        /// No channel's name has an `@`.
        private static func subject(_ number: UInt64, _ context: CarrierContext) -> String {
            context.names.subject(.queue, of: context.machine, context.name) + ".@" + String(number, radix: 16)
        }

        private static func ensure(
            _ number: UInt64, _ stream: String, _ channel: AnyChannel, _ context: CarrierContext
        ) async throws -> StreamState {
            let state = try await context.connection.ensureStream(
                StreamSettings(
                    name: stream, subjects: [subject(number, context)], retention: .workQueue, discard: .new,
                    replicas: context.rule.replicas,
                    metadata: CarriedSchema.metadata(channel, context.machine, context.name)))
            try CarriedSchema.check(
                channel, context.machine, against: state.metadata, of: context.machine, context.name)
            return state
        }

        /// Stores a message that is no job. What others had sent before the subject was changed is stored before it, or never.
        ///
        /// - Returns: Its sequence; nil if something else was stored meanwhile, or perhaps this.
        private static func begin(
            _ subject: String, after last: UInt64, _ context: CarrierContext
        ) async throws -> UInt64? {
            var writer = EnvelopeWriter(Envelope.Header(kind: .void, machine: context.machine.hash, incarnation: 0))
            writer.append(position: 1, [UInt8]().span.bytes)
            let body = writer.finish()
            do throws(BridgeError) {
                return try await context.connection.store(
                    subject, headers: [("Nats-Expected-Last-Sequence", String(last))], body,
                    what: "to store a message of \(subject)")
            } catch {
                guard error.mayPass || error.isOtherRevision else { throw error }
            }
            if !context.connection.isConnected { try await context.connection.waitUntilConnected() }
            try await pause(.milliseconds(100))
            return nil
        }

        /// Checks that the stream is still of this era.
        func check(_ state: StreamState?, _ machine: Machine) throws -> StreamState {
            guard let state else { throw StartAnew("the stream \(stream) was deleted; it is made anew") }
            guard state.subjects == [subject] else {
                throw StartAnew(
                    "another process has taken the stream \(stream); is another bridge running for \(machine)? Give each machine a name of its own"
                )
            }
            return state
        }
    }
#endif
