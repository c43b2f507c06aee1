#if NATS
    import CNATS
    import Glibc

    /// Where the servers are, and who we are to them.
    struct ServerConfiguration: Sendable, Equatable {
        /// `nats://host:port` or `tls://host:port`; any of them may be connected to.
        var servers: [String] = ["nats://127.0.0.1:4222"]
        var user: String?
        var password: String?
        var token: String?
        /// The public key that the server knows (`U…`), and the file with its seed (`SU…`).
        var nkey: NKey?
        /// A file of credentials (JWT and seed), as `nsc` writes it.
        var credentials: String?
        var tls: TLS?

        struct NKey: Sendable, Equatable {
            var publicKey: String
            var seedFile: String
        }

        /// Files in PEM. The server's certificate is always verified, and its name too.
        struct TLS: Sendable, Equatable {
            /// Nil: the system's authorities.
            var authority: String?
            var certificate: String?
            var key: String?
            /// The name in the server's certificate, if it is not the host of the address.
            var hostname: String?
        }
    }

    extension ServerConfiguration {
        /// The library, initialized. Its threads do not spin for a lock: whoever holds it may need this processor.
        private static let library = nats_Open(0)

        /// The library's options; the caller destroys them.
        func makeOptions(name: String) throws(BridgeError) -> OpaquePointer {
            guard !servers.isEmpty else {
                throw .configuration("No server is given: give an address, nats://host:4222.")
            }
            var options: OpaquePointer?
            guard Self.library == NATS_OK, natsOptions_Create(&options) == NATS_OK, let options else {
                throw .configuration("The NATS library cannot be initialized.")
            }
            do throws(BridgeError) {
                try set(on: options, name: name)
            } catch {
                natsOptions_Destroy(options)
                throw error
            }
            return options
        }

        /// Tries all that a connection needs but the servers.
        func check() throws(BridgeError) {
            natsOptions_Destroy(try makeOptions(name: "check"))
            // The library reads these when it connects.
            if let nkey { try checkSeed(in: nkey.seedFile) }
            if let credentials {
                try checkSeed(in: credentials)
                guard let text = Self.content(of: credentials), text.contains("-----BEGIN NATS USER JWT-----") else {
                    throw .configuration("The credentials \(credentials) have no JWT of a user: write them with nsc.")
                }
            }
        }

        /// Signs something with the seed of a file.
        private func checkSeed(in path: String) throws(BridgeError) {
            guard let text = Self.content(of: path) else {
                throw .configuration("The file \(path) cannot be read, or is not a text of at most 1 MiB.")
            }
            let seed = text.split(whereSeparator: \.isWhitespace).first { $0.hasPrefix("SU") && $0.count == 58 }
            var signature: UnsafeMutablePointer<UInt8>?
            var count: CInt = 0
            let isUsable = seed.map { nats_Sign(String($0), "check", &signature, &count) == NATS_OK } ?? false
            free(signature)
            guard isUsable else {
                throw .configuration(
                    "The file \(path) has no seed of a user, which begins with SU and has 58 characters.")
            }
        }

        private static func content(of path: String) -> String? {
            guard let file = fopen(path, "re") else { return nil }
            defer { fclose(file) }
            var bytes = [UInt8](repeating: 0, count: 1 << 20)
            let count = fread(&bytes, 1, bytes.count, file)
            guard ferror(file) == 0, feof(file) != 0 else { return nil }
            return String(validating: bytes[..<count], as: UTF8.self)
        }

        private func set(on options: OpaquePointer, name: String) throws(BridgeError) {
            var addresses: [UnsafePointer<CChar>?] = servers.map { UnsafePointer(strdup($0)) }
            defer { for address in addresses { free(UnsafeMutablePointer(mutating: address)) } }
            try check(
                natsOptions_SetServers(options, &addresses, CInt(addresses.count)),
                "The servers \(servers.joined(separator: ", ")) are no addresses of the form nats://host:4222")
            try check(natsOptions_SetName(options, name), "The name \(name) cannot be used")
            if let user { try check(natsOptions_SetUserInfo(options, user, password ?? ""), "The user cannot be used") }
            if let token { try check(natsOptions_SetToken(options, token), "The token cannot be used") }
            if let nkey {
                try check(
                    natsOptions_SetNKeyFromSeed(options, nkey.publicKey, nkey.seedFile), "The NKey cannot be used")
            }
            if let credentials {
                try check(
                    natsOptions_SetUserCredentialsFromFiles(options, credentials, nil),
                    "The credentials \(credentials) cannot be used")
            }
            try setTLS(on: options)
            // A cut connection is noticed within two seconds, and a write that nobody takes ends after one. What is published
            // without a connection is refused here: the acknowledgements say what was stored, not a buffer of the library.
            let statuses = [
                natsOptions_SetWriteDeadline(options, 1000), natsOptions_SetPingInterval(options, 1000),
                natsOptions_SetMaxPingsOut(options, 1), natsOptions_SetMaxReconnect(options, -1),
                natsOptions_SetReconnectBufSize(options, 1), natsOptions_SetTimeout(options, 2000),
                natsOptions_UseGlobalMessageDelivery(options, true), natsOptions_SetSendAsap(options, true),
                // So that large messages are mostly read in one piece, and not put together in another place.
                natsOptions_SetIOBufSize(options, 256 << 10),
            ]
            for status in statuses { try check(status, "The NATS library refuses an option") }
        }

        private func setTLS(on options: OpaquePointer) throws(BridgeError) {
            let wanted = servers.contains { $0.hasPrefix("tls://") }
            guard tls != nil || wanted else { return }
            try check(natsOptions_SetSecure(options, true), "The NATS library has no TLS")
            guard let tls else { return }
            if let authority = tls.authority {
                try check(
                    natsOptions_LoadCATrustedCertificates(options, authority),
                    "The authority's certificate \(authority) cannot be used")
            }
            if let certificate = tls.certificate {
                guard let key = tls.key else {
                    throw .configuration("The certificate \(certificate) has no key: give tls.key.")
                }
                try check(
                    natsOptions_LoadCertificatesChain(options, certificate, key),
                    "The certificate \(certificate) with the key \(key) cannot be used")
            }
            if let hostname = tls.hostname {
                try check(
                    natsOptions_SetExpectedHostname(options, hostname), "The host name \(hostname) cannot be used")
            }
        }

        private func check(_ status: natsStatus, _ what: String) throws(BridgeError) {
            guard status != NATS_OK else { return }
            throw .configuration("\(what): \(describe(status)).")
        }
    }

    /// What the library says of a status, and of the last error of this thread.
    func describe(_ status: natsStatus) -> String {
        var last = NATS_OK
        let detail = nats_GetLastError(&last).map { String(cString: $0) } ?? ""
        return describe(status, detail: last == status ? detail : "")
    }

    /// A status and what the library says beside it, without the place in the library's source: `(conn.c:733): `.
    func describe(_ status: natsStatus, detail: String) -> String {
        let text = String(cString: natsStatus_GetText(status))
        var detail = detail[...]
        if detail.hasPrefix("("), let end = detail.firstRange(of: "): ")?.upperBound { detail = detail[end...] }
        return detail.isEmpty || detail == text ? text : "\(text) (\(detail))"
    }
#endif
