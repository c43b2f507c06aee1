#if NATS
    import IPCChannels

    /// The schema of a channel, with its stream: machines whose schemas differ refuse to carry.
    enum CarriedSchema {
        private static let key = "ipc-schema"

        /// What the stream of a channel says about it.
        static func metadata(_ channel: AnyChannel, _ machine: Machine, _ name: ChannelName) -> [String: String] {
            [key: channel.schema.json, "ipc-channel": name.description, "ipc-machine": machine.name]
        }

        /// - Parameters:
        ///   - channel: The local channel.
        ///   - machine: This machine.
        ///   - metadata: The stream's.
        ///   - other: The machine whose stream it is.
        static func check(
            _ channel: AnyChannel, _ machine: Machine, against metadata: [String: String], of other: Machine,
            _ name: ChannelName
        ) throws {
            guard let json = metadata[key] else {
                throw Refusal("the stream of \(name) of \(other) has no schema: a bridge did not make it; delete it")
            }
            let schema = try ChannelSchema(json: json)
            guard let difference = ChannelSchema.difference(channel: schema, program: channel.schema) else { return }
            guard machine != other else {
                throw Refusal(
                    "\(name) has the type \(channel.schema.name), but its stream has messages of an earlier type, \(schema.name): \(difference); choose another name, or delete the stream"
                )
            }
            throw Refusal(
                "\(name) has the type \(channel.schema.name) on \(machine), and \(schema.name) on \(other): on \(other) \(difference); give both channels one type, or carry only one of them"
            )
        }
    }
#endif
