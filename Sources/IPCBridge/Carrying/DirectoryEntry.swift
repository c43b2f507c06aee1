#if NATS
    import IPC
    import IPCChannels

    /// What a machine tells the others about one of its channels: enough to create the same one, and to see that it is another one.
    struct DirectoryEntry: Hashable, Sendable {
        let pattern: ChannelPattern
        let machine: Machine
        let channel: ChannelName
        let schema: ChannelSchema
        let options: Options
        /// Whether its bridge carries messages of this channel to others, and from others.
        let isOut, isIn: Bool

        /// What a channel is created with elsewhere. Who may use it is not among it: that is decided where it is created.
        struct Options: Hashable, Sendable {
            var isShared: Bool
            var overwrites: Bool
            var isKept: Bool
            /// Nil if the channel is not durable.
            var syncedBytes: Int?
            var isDurable: Bool
            var capacity: Int
            var maximumReaders, maximumWriters: Int
            var maximumAttempts: Int?
            /// Seconds: none, one, or first and limit.
            var backoff: [Double]?
            var maximumWaiting: Int?
        }

        /// What this machine has.
        init(_ description: ChannelDescription, _ schema: ChannelSchema, of machine: Machine, _ rule: ChannelRule) {
            (pattern, self.machine, channel, self.schema) = (description.pattern, machine, description.name, schema)
            (isOut, isIn) = (rule.direction.isOut, rule.direction.isIn)
            let attributes = description.attributes
            var synced: Int?
            if case .syncedEvery(let bytes) = attributes.durability { synced = bytes }
            options = Options(
                isShared: attributes.writers == .shared, overwrites: attributes.overflow == .overwrite,
                isKept: attributes.lifetime == .kept, syncedBytes: synced, isDurable: attributes.durability != .none,
                capacity: attributes.capacity, maximumReaders: attributes.maximumReaders,
                maximumWriters: attributes.maximumWriters, maximumAttempts: description.maximumAttempts,
                backoff: description.backoff.map(Self.seconds), maximumWaiting: description.maximumWaiting)
        }

        private static func seconds(_ backoff: RetryBackoff) -> [Double] {
            switch backoff {
            case .none: []
            case .fixed(let time): [time / .seconds(1)]
            case .exponential(let first, let limit): [first / .seconds(1), limit / .seconds(1)]
            }
        }

        /// Creates the channel as it is on the other machine, unless it exists by now.
        ///
        /// Its writers are shared, whatever they are there: besides programs, the bridge writes here.
        ///
        /// - Returns: Whether it was created.
        func createChannel(in root: ChannelRoot) throws(IPCError) -> Bool {
            var asked = ChannelOptions(
                writers: .shared, overflow: options.overwrites ? .overwrite : .block,
                lifetime: options.isKept ? .kept : .whileUsed,
                durability: options.isDurable
                    ? options.syncedBytes.map { .syncedEvery(bytes: $0) } ?? .syncedWhenAsked
                    : ChannelOptions.Durability.none,
                capacity: options.capacity, maximumReaders: options.maximumReaders,
                maximumWriters: max(options.maximumWriters, 64))
            switch pattern {
            case .topic: break
            case .workQueue: asked.overflow = nil
            // Of these, only some are options.
            case .service: asked = ChannelOptions(lifetime: asked.lifetime, capacity: asked.capacity)
            case .latest: (asked.overflow, asked.durability) = (nil, nil)
            case .event: asked = ChannelOptions(lifetime: asked.lifetime)
            }
            do throws(IPCError) {
                _ = try AnyChannel.create(
                    pattern, channel.description, in: root, asked, schema: schema,
                    maximumAttempts: pattern == .workQueue ? options.maximumAttempts : nil,
                    backoff: pattern == .workQueue ? retryBackoff : nil,
                    maximumWaiting: pattern == .service ? options.maximumWaiting : nil)
                return true
            } catch  where error.code == .alreadyExists { return false }
        }

        private var retryBackoff: RetryBackoff? {
            guard let backoff = options.backoff else { return nil }
            let times = backoff.map { Duration.nanoseconds(Int64(($0 * 1e9).rounded())) }
            return switch times.count {
            case 0: RetryBackoff.none
            case 1: .fixed(times[0])
            default: .exponential(first: times[0], limit: times[1])
            }
        }

        /// Why messages cannot pass between the channel of this machine and that one; nil if they can.
        func refusal(here: ChannelDescription, _ schema: ChannelSchema, on machine: Machine) -> String? {
            if here.pattern != pattern {
                return
                    "\(channel) is of the pattern \(here.pattern) on \(machine), and \(pattern) on \(self.machine); rename one"
            }
            guard let difference = ChannelSchema.difference(channel: schema, program: self.schema) else { return nil }
            let told = difference.replacing("in this program", with: "on \(self.machine)")
            return
                "\(channel) has the type \(schema.name) on \(machine), and \(self.schema.name) on \(self.machine): \(told)"
        }
    }

    // As the value of a key.
    extension DirectoryEntry {
        private static let version = 1

        var json: String {
            JSONValue.members([
                ("version", .integer(Self.version)), ("schema", try? JSONValue(parsing: schema.json)),
                ("out", .bool(isOut)), ("in", .bool(isIn)),
                ("shared", .bool(options.isShared)), ("overwrites", .bool(options.overwrites)),
                ("kept", .bool(options.isKept)), ("durable", .bool(options.isDurable)),
                ("syncedBytes", options.syncedBytes.map { .integer($0) }), ("capacity", .integer(options.capacity)),
                ("maximumReaders", .integer(options.maximumReaders)),
                ("maximumWriters", .integer(options.maximumWriters)),
                ("maximumAttempts", options.maximumAttempts.map { .integer($0) }),
                ("backoff", options.backoff.map { .array($0.map { .number("\($0)") }) }),
                ("maximumWaiting", options.maximumWaiting.map { .integer($0) }),
            ]).text
        }

        /// Reads what anybody may have written.
        init(key: String, json: String, _ names: ServerNames) throws(EntryError) {
            guard let parts = names.parts(ofDirectoryKey: key) else {
                throw EntryError(reason: "its key is that of no channel")
            }
            (pattern, machine, channel) = parts
            let value: JSONValue
            do throws(JSONError) { value = try JSONValue(parsing: json) } catch {
                throw EntryError(reason: "it is not JSON: \(error.reason)")
            }
            func number(_ key: String, _ range: ClosedRange<Int>) throws(EntryError) -> Int? {
                guard let member = value[key] else { return nil }
                guard case .number(let text) = member, let number = Int(text), range.contains(number) else {
                    throw EntryError(reason: "\(key) is no number from \(range.lowerBound) to \(range.upperBound)")
                }
                return number
            }
            func flag(_ key: String) throws(EntryError) -> Bool {
                guard case .bool(let flag) = value[key] else {
                    throw EntryError(reason: "\(key) is neither true nor false")
                }
                return flag
            }
            guard try number("version", 1 ... .max) == Self.version, let schema = value["schema"] else {
                throw EntryError(
                    reason: "its version is not \(Self.version), or it has no schema; use bridges of one version")
            }
            do throws(IPCError) { self.schema = try ChannelSchema(json: schema.text) } catch {
                throw EntryError(reason: error.advice)
            }
            (isOut, isIn) = try (flag("out"), flag("in"))
            var backoff: [Double]?
            if case .array(let times) = value["backoff"] {
                backoff = []
                for time in times.prefix(2) {
                    guard case .number(let text) = time, let seconds = Double(text),
                        (0...86_400 * 366).contains(seconds)
                    else { throw EntryError(reason: "backoff is no list of seconds") }
                    backoff?.append(seconds)
                }
            }
            options = Options(
                isShared: try flag("shared"), overwrites: try flag("overwrites"), isKept: try flag("kept"),
                syncedBytes: try number("syncedBytes", 1...1 << 40), isDurable: try flag("durable"),
                capacity: try number("capacity", 1...1 << 40) ?? 1 << 20,
                maximumReaders: try number("maximumReaders", 1...1024) ?? 64,
                maximumWriters: try number("maximumWriters", 1...1024) ?? 64,
                maximumAttempts: try number("maximumAttempts", 1 ... .max), backoff: backoff,
                maximumWaiting: try number("maximumWaiting", 1 ... .max))
        }
    }

    /// Why an entry of the directory is none.
    struct EntryError: Error, CustomStringConvertible {
        let reason: String
        var description: String { "an entry of the directory is not valid: \(reason)" }
    }
#endif
