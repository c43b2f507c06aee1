#if NATS
    import Glibc
    public import IPC
    public import IPCChannels

    /// What a bridge carries, and over which servers: the content of `bridge.json`.
    ///
    /// ```json
    /// {
    ///   "machine": "robot-1",
    ///   "servers": ["nats://127.0.0.1:4222"],
    ///   "channels": [{ "name": "market/**", "pattern": "topic", "direction": "out" }]
    /// }
    /// ```
    ///
    /// `Documentation/bridge.md` has all keys. Unknown keys, values of a wrong type or out of range, and combinations without effect are
    /// errors that name the place, such as `channels[2].delivery`.
    public struct BridgeConfiguration: Equatable, Sendable {
        /// This machine.
        public var machine: Machine
        var servers: ServerConfiguration
        /// The first part of all names on the server. Bridges with different prefixes do not see each other.
        public var prefix: String
        /// The first one that matches a channel decides.
        public var rules: [ChannelRule]

        /// The rule for a channel; nil if it is not carried.
        public func rule(for name: ChannelName, _ pattern: ChannelPattern) -> ChannelRule? {
            guard !BridgeStatus.isOfBridge(name) else { return nil }
            return rules.first { rule in
                rule.matches(name, pattern)
                    // Letters stay where their jobs have failed, unless somebody asks for just these.
                    && (!name.description.hasSuffix("/dead-letters") || rule.name.description == name.description)
            }
        }

        /// Reads a file. Relative paths in it are relative to its folder. Blocks for the disk.
        ///
        /// - Throws: ``/IPC/IPCError/Code/invalidArgument`` with the place of what is wrong; ``/IPC/IPCError/Code/notFound``;
        ///   ``/IPC/IPCError/Code/permissionDenied``.
        public init(contentsOf path: String) throws(IPCError) {
            let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
            try self.init(
                json: try Self.content(path), named: path, folder: path.hasPrefix("/") && folder.isEmpty ? "/" : folder)
        }

        /// Tries what a connection to the servers needs, such as files with certificates and keys. It connects to none.
        ///
        /// - Throws: ``/IPC/IPCError/Code/invalidArgument`` with what cannot be used.
        package func checkServers() throws(IPCError) {
            do throws(BridgeError) { try servers.check() } catch {
                throw IPCError(
                    .invalidArgument, "use", "the configuration of \(servers.servers.joined(separator: ", "))",
                    advice: "\(error)")
            }
        }

        /// Parses a configuration.
        ///
        /// - Parameters:
        ///   - json: An object.
        ///   - source: What errors name as their place.
        ///   - folder: What relative paths are relative to; empty for the current folder.
        /// - Throws: ``/IPC/IPCError/Code/invalidArgument`` with the place of what is wrong.
        public init(json: String, named source: String = "the configuration", folder: String = "") throws(IPCError) {
            func refused(_ reason: String) -> IPCError { IPCError(.invalidArgument, "read", source, advice: reason) }
            let value: JSONValue
            do throws(JSONError) { value = try JSONValue(parsing: json) } catch {
                throw refused("it is not JSON: \(error.reason)")
            }
            do throws(ConfigurationError) { try self.init(value, folder: folder) } catch {
                throw refused(error.place.isEmpty ? error.reason : "\(error.place): \(error.reason)")
            }
        }

        /// What the flags of a command say, of one rule. Errors name the flags.
        ///
        /// - Parameters:
        ///   - flags: Keys of the configuration as flags give them; `channel` is the name of the rule.
        ///   - servers: URLs.
        /// - Throws: ``/IPC/IPCError/Code/invalidArgument``, with the flag.
        package init(flags: [(key: String, value: String)], servers: [String]) throws(IPCError) {
            var (whole, rule): ([(String, JSONValue?)], [(String, JSONValue?)]) = ([], [])
            for (key, value) in flags {
                let json = key == "replicas" ? JSONValue.number(value) : .string(value)
                switch key {
                case "machine", "prefix", "credentials": whole.append((key, json))
                case "channel": rule.append(("name", json))
                default: rule.append((key, json))
                }
            }
            whole.append(("servers", .array(servers.map { .string($0) })))
            whole.append(("channels", .array([.members(rule)])))
            do throws(ConfigurationError) { try self.init(.members(whole), folder: "") } catch {
                let key = error.place.split(separator: ".").last.map(String.init) ?? ""
                let flag = key == "name" ? "channel" : key.hasPrefix("servers") ? "server" : key
                throw IPCError(.invalidArgument, "read", "--\(flag)", advice: error.reason)
            }
        }

        private init(_ value: JSONValue, folder: String) throws(ConfigurationError) {
            let object = try ConfigurationObject(
                value, at: "", keys: ["machine", "prefix", "channels"] + ServerConfiguration.keys)
            machine = try Self.machine(object)
            prefix = try object.string("prefix") ?? "ipc"
            guard prefix.utf8.count <= 32, prefix.utf8.allSatisfy(Machine.isInPrefix) else {
                throw object.fault(
                    "prefix", "a prefix has 1 to 32 letters, digits and '_'; it is \(prefix.quotedForJSON)")
            }
            servers = try ServerConfiguration(object, folder: folder)
            guard let channels = try object.list("channels") else {
                throw object.fault("channels", "it is missing; write \"channels\": [{\"name\": \"market/**\"}]")
            }
            rules = []
            for (index, channel) in channels.enumerated() {
                let rule = try ChannelRule(channel, at: "channels[\(index)]")
                let place = "channels[\(index)].name"
                if let reason = rule.name.reasonForNone {
                    throw ConfigurationError(place, "it has no effect: \(reason)")
                }
                if let earlier = rules.firstIndex(where: { $0.hides(rule) }) {
                    throw ConfigurationError(
                        place,
                        "it has no effect: channels[\(earlier)], \(rules[earlier].name), is for the same channels, and the first rule that matches decides"
                    )
                }
                rules.append(rule)
            }
        }

        private static func machine(_ object: ConfigurationObject) throws(ConfigurationError) -> Machine {
            guard let name = try object.string("machine") else {
                guard let host = Machine.host else {
                    throw object.fault("machine", "this host has no name; write one, such as \"machine\": \"robot-1\"")
                }
                return host
            }
            guard let machine = Machine(name) else {
                throw object.fault(
                    "machine",
                    "a machine's name has 1 to 64 letters, digits, '-', '_' and '.', and does not begin with a dot; it is \(name.quotedForJSON)"
                )
            }
            return machine
        }

        /// The text of a file of at most 16 MiB.
        private static func content(_ path: String) throws(IPCError) -> String {
            guard let file = fopen(path, "re") else {
                throw IPCError("open", path, .init(rawValue: errno))
            }
            defer { fclose(file) }
            var content: [UInt8] = []
            var piece = [UInt8](repeating: 0, count: 65_536)
            while case let count = fread(&piece, 1, piece.count, file), count > 0, content.count <= 16 << 20 {
                content += piece[..<count]
            }
            guard ferror(file) == 0 else { throw IPCError("read", path, .init(rawValue: errno)) }
            guard content.count <= 16 << 20, let text = String(validating: content, as: UTF8.self) else {
                throw IPCError(
                    .invalidArgument, "read", path, advice: "a configuration is a text in UTF-8 of at most 16 MiB")
            }
            return text
        }
    }
#endif
