#if NATS
    import IPC
    import IPCChannels
    import Logging
    import Synchronization

    /// Carries what is set on this machine to the key of a latest value, where it is newer than what the key has: ``LatestCarrying``.
    struct LatestExport: Carrier {
        let context: CarrierContext

        func run() async throws {
            let exporter = try LatestExporter(context)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await exporter.read() }
                group.addTask {
                    try await LatestCarrying.carry(context) { try await exporter.store($0, $1) }
                }
                defer { group.cancelAll() }
                try await group.next()
            }
        }
    }

    private final class LatestExporter: Sendable {
        /// A value that was set on this machine.
        private struct Value {
            let bytes: [UInt8]
            /// Where it ends in the local log.
            let position: UInt64
            /// When it was seen, in nanoseconds of CLOCK_MONOTONIC.
            let time: UInt64
            /// The value of another machine that was the newest here before.
            let base: LatestRevision
        }

        private let context: CarrierContext
        private let channel: AnyChannel
        private let incarnation: UInt64
        private let note: LatestNote
        private let key: String
        /// The newest value of this machine.
        private let newest = Mutex<Value?>(nil)
        /// Tells that there is another one.
        private let (news, teller) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))

        init(_ context: CarrierContext) throws {
            self.context = context
            channel = try context.openChannel()
            incarnation = try channel.incarnation
            note = try LatestNote(context)
            key = context.names.key(context.name)
        }

        /// Follows what is set, also while nothing can be stored: so it is known how old it is.
        func read() async throws {
            var reader = try channel.makeReader()
            var base = LatestRevision(0)
            while true {
                let bytes = try await reader.receive()
                if let origin = reader.origin {
                    base = LatestRevision(origin.sequence)
                    continue
                }
                guard let position = reader.position?.offset else { continue }
                // One that was set while no bridge ran counts as set now.
                let time = note.timeSeen(incarnation, position) ?? MonotonicClock.now
                note.see(incarnation, position, at: time)
                newest.withLock { $0 = Value(bytes: bytes, position: position, time: time, base: base) }
                teller.yield()
            }
        }

        func store(_ bucket: Bucket, _ identity: UInt64) async throws {
            var target = Target(bucket: bucket, identity: identity)
            for await _ in news {
                guard let value = newest.withLock({ $0 }) else { continue }
                if note.state(of: incarnation, value.position, in: identity) == .new { try await store(value, &target) }
            }
            try Task.checkCancellation()
        }

        private struct Target {
            let bucket: Bucket
            let identity: UInt64
            /// The connection in which the bucket was seen last, by its number: it can be another one of the same name after that.
            var epoch: Int?
            /// The revision that this process has stored last.
            var stored: UInt64 = 0
        }

        private enum Order {
            case same, older, newer
        }

        /// Stores a value unless the key has a newer one. Gives up as soon as there is a newer value on this machine.
        private func store(_ value: Value, _ target: inout Target) async throws {
            // What was the newest here when it was set, nothing else has to be compared with.
            var known: UInt64?
            if context.connection.epoch == target.epoch {
                known = max(value.base.isOf(target.identity) ? value.base.revision : 0, target.stored)
            }
            if known == 0 || !isTaken(value) { known = nil }
            while newest.withLock({ $0?.position }) == value.position {
                do {
                    if try await attempt(value, &target, known) { return }
                } catch let error as BridgeError where error.mayPass {
                    // It may be stored or not.
                    if !context.connection.isConnected { try await context.connection.waitUntilConnected() }
                    try await pause(.milliseconds(100))
                }
                known = nil
            }
        }

        /// - Parameter known: The revision of a value that is older; nil if it is not known which one the key has.
        /// - Returns: Whether it is decided; false if it has to be compared with what the key has by now.
        private func attempt(_ value: Value, _ target: inout Target, _ known: UInt64?) async throws -> Bool {
            let revision: UInt64
            if let known {
                revision = known
            } else {
                let epoch = context.connection.epoch
                let present = try await target.bucket.look(at: key, for: .zero)
                guard present.bucket == target.identity else {
                    throw StartAnew("the bucket \(target.bucket.name) was made anew")
                }
                target.epoch = epoch
                revision = present.revision
                switch order(of: present, to: value, target.identity) {
                case .same:
                    decide(value, &target, revision)
                    context.status.addCarried(1, bytes: value.bytes.count)
                    return true
                case .newer:
                    decide(value, &target, revision - 1)
                    return true
                case .older: break
                }
                guard isTaken(value) else {
                    refuse(value)
                    decide(value, &target, revision)
                    return true
                }
            }
            let body = LatestCarrying.body(
                value.bytes, context.machine, incarnation, value.position, age: MonotonicClock.now &- value.time)
            do throws(BridgeError) {
                decide(value, &target, try await target.bucket.put(key, body, ifRevision: revision, for: .zero))
            } catch {
                guard error.isOtherRevision else { throw error }
                return false
            }
            context.status.addCarried(1, bytes: value.bytes.count)
            context.status.set(.carrying)
            return true
        }

        private func decide(_ value: Value, _ target: inout Target, _ revision: UInt64) {
            note.decide(incarnation, value.position, in: target.identity, revision: revision)
            target.stored = revision
        }

        /// What the key has, compared with a value that was set here.
        private func order(of present: KeyState, to value: Value, _ identity: UInt64) -> Order {
            // Whoever wrote something else there has no age.
            guard let body = present.value, let envelope = try? Envelope(reading: body.span.bytes),
                envelope.header.kind == .value, let position = envelope.records.first?.position
            else { return .older }
            if envelope.header.machine == context.machine.hash, envelope.header.incarnation == incarnation {
                return position == value.position ? .same : .older
            }
            if value.base.isOf(identity), present.revision <= value.base.revision { return .older }
            let age = Int64(clamping: MonotonicClock.now &- value.time)
            let (presentAge, isTooOld) = (present.now - present.time).addingReportingOverflow(
                Int64(clamping: envelope.header.missed))
            // Where the server's clock was set back, what is set here counts.
            return present.time <= present.now && !isTooOld && presentAge < age ? .newer : .older
        }

        /// Whether the server takes a value of this size.
        private func isTaken(_ value: Value) -> Bool { value.bytes.count <= context.connection.singleLimit }

        private func refuse(_ value: Value) {
            let reason =
                "a value of \(context.name) has \(value.bytes.count) bytes, and the server's max_payload leaves room for \(context.connection.singleLimit); raise it there. Smaller values are carried"
            context.status.addDropped(1)
            if context.status.refuse(reason) {
                context.logger.error("a value is not carried", metadata: ["reason": "\(reason)"])
            }
        }
    }
#endif
