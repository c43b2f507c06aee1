#if NATS
    import Glibc
    import IPC
    import IPCChannels

    extension ServerConfiguration {
        static let keys = ["servers", "user", "password", "token", "nkey", "seed", "credentials", "tls"]

        /// - Parameter folder: What relative paths are relative to.
        init(_ object: ConfigurationObject, folder: String) throws(ConfigurationError) {
            guard let addresses = try object.list("servers") else {
                throw object.fault("servers", "it is missing; write \"servers\": [\"nats://127.0.0.1:4222\"]")
            }
            self.init()
            servers = []
            for (index, server) in addresses.enumerated() {
                let place = object.place(of: "servers") + "[\(index)]"
                guard case .string(let url) = server else { throw ConfigurationError(place, "expected a URL") }
                servers.append(try Self.checked(url, place))
            }
            user = try object.string("user")
            password = try object.string("password")
            token = try object.string("token")
            credentials = try Self.file(object, "credentials", folder)
            if let key = try object.string("nkey") {
                guard key.hasPrefix("U") else {
                    throw object.fault(
                        "nkey", "expected the public key of a user, which begins with U; its seed is in the file seed")
                }
                guard let seed = try Self.file(object, "seed", folder) else {
                    throw object.fault(
                        "seed", "it is missing: nkey is the public key, and seed the file with the secret one")
                }
                nkey = NKey(publicKey: key, seedFile: seed)
            } else if object.has("seed") {
                throw object.fault(
                    "nkey", "it is missing: seed is the file with the secret key, and nkey the public one")
            }
            guard (user == nil) == (password == nil) else {
                throw object.fault(
                    user == nil ? "user" : "password", "it is missing: user and password belong together")
            }
            let ways = ["user", "token", "nkey", "credentials"].filter(object.has)
            guard ways.count <= 1 else {
                throw object.fault(
                    ways[1], "a bridge proves who it is in one way, but \(ways[0]) is given too; keep one")
            }
            if let object = try object.object("tls", keys: ["ca", "certificate", "key", "hostname"]) {
                let tls = TLS(
                    authority: try Self.file(object, "ca", folder),
                    certificate: try Self.file(object, "certificate", folder),
                    key: try Self.file(object, "key", folder), hostname: try object.string("hostname"))
                guard (tls.certificate == nil) == (tls.key == nil) else {
                    throw object.fault(
                        tls.key == nil ? "key" : "certificate", "it is missing: certificate and key belong together")
                }
                self.tls = tls
            }
        }

        private static func checked(_ url: String, _ place: String) throws(ConfigurationError) -> String {
            let parts = url.split(separator: "://", maxSplits: 1, omittingEmptySubsequences: false)
            let hasScheme = parts.count == 2
            guard !hasScheme || parts[0] == "nats" || parts[0] == "tls" else {
                throw ConfigurationError(
                    place, "the URL of a server begins with nats:// or tls://, not with \(parts[0])://")
            }
            let host = hasScheme ? parts[1] : parts[0]
            guard !host.contains("@") else {
                throw ConfigurationError(
                    place, "a URL is written to logs; give what is before the @ as user and password, or as token")
            }
            let isPlain = host.utf8.allSatisfy {
                $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ",")
            }
            guard !host.isEmpty, isPlain else {
                throw ConfigurationError(
                    place, "expected a URL such as nats://127.0.0.1:4222, found \(url.quotedForJSON)")
            }
            if let colon = host.lastIndex(of: ":"), !host.hasSuffix("]") {
                let port = Quantities.whole(String(host[host.index(after: colon)...])) ?? 0
                guard (1...65_535).contains(port) else {
                    throw ConfigurationError(place, "the port of \(url.quotedForJSON) is not a number from 1 to 65535")
                }
            }
            return hasScheme ? url : "nats://" + url
        }

        private static func file(
            _ object: ConfigurationObject, _ key: String, _ folder: String
        ) throws(ConfigurationError) -> String? {
            guard let given = try object.string(key) else { return nil }
            let path = given.hasPrefix("/") || folder.isEmpty ? given : folder + "/" + given
            guard access(path, R_OK) == 0 else {
                throw object.fault(key, "the file \(path) cannot be read: \(String(cString: strerror(errno)))")
            }
            return path
        }
    }
#endif
