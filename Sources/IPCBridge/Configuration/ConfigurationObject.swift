#if NATS
    import IPC
    import IPCChannels

    /// What is wrong in a configuration, and where.
    struct ConfigurationError: Error {
        /// Such as `channels[2].delivery`; empty for the whole.
        let place: String
        let reason: String

        init(_ place: String, _ reason: String) {
            self.place = place
            self.reason = reason
        }
    }

    /// An object of a configuration. Each value is asked for once, with its type; an error names the place of the value.
    struct ConfigurationObject {
        /// Such as `channels[2]`; empty for the whole.
        let place: String
        private let members: [JSONValue.Member]

        /// - Parameter keys: All that there may be.
        init(_ value: JSONValue, at place: String, keys: [String]) throws(ConfigurationError) {
            guard case .object(let members) = value else {
                throw ConfigurationError(place, "expected an object, found \(Self.kind(value))")
            }
            self.place = place
            self.members = members
            for member in members where !keys.contains(member.key) {
                throw ConfigurationError(
                    self.place(of: member.key), "there is no such key; the keys are \(keys.joined(separator: ", "))")
            }
        }

        func place(of key: String) -> String { place.isEmpty ? key : place + "." + key }

        /// An error of one of its values.
        func fault(_ key: String, _ reason: String) -> ConfigurationError { ConfigurationError(place(of: key), reason) }

        func has(_ key: String) -> Bool { value(key) != nil }

        func value(_ key: String) -> JSONValue? { members.first { $0.key == key }?.value }

        private static func kind(_ value: JSONValue) -> String {
            switch value {
            case .null: "null"
            case .bool: "true or false"
            case .number(let number): "the number \(number)"
            case .string(let text): "the text \(text.quotedForJSON)"
            case .array: "a list"
            case .object: "an object"
            }
        }

        func string(_ key: String) throws(ConfigurationError) -> String? {
            guard let value = value(key) else { return nil }
            guard case .string(let text) = value else {
                throw fault(key, "expected a text, found \(Self.kind(value))")
            }
            guard !text.isEmpty, !text.utf8.contains(0) else {
                throw fault(
                    key, text.isEmpty ? "the text is empty; write one" : "the text has a character 0; leave it out")
            }
            return text
        }

        /// One of the words.
        func word<Word>(_ key: String, _ words: [(String, Word)]) throws(ConfigurationError) -> Word? {
            guard let value = value(key) else { return nil }
            guard case .string(let text) = value, let word = words.first(where: { $0.0 == text }) else {
                let names = words.map(\.0)
                throw fault(
                    key,
                    "expected \(names.dropLast().joined(separator: ", ")) or \(names.last ?? ""), found \(Self.kind(value))"
                )
            }
            return word.1
        }

        func whole(_ key: String, _ range: ClosedRange<Int>) throws(ConfigurationError) -> Int? {
            guard let value = value(key) else { return nil }
            guard case .number(let text) = value, let number = Quantities.whole(text), range.contains(number) else {
                throw fault(
                    key,
                    "expected a number from \(range.lowerBound) to \(range.upperBound), found \(Self.kind(value))")
            }
            return number
        }

        func duration(_ key: String, _ range: ClosedRange<Duration>, _ what: String) throws(ConfigurationError)
            -> Duration?
        {
            guard let value = value(key) else { return nil }
            guard let duration = Self.text(value).flatMap(Quantities.duration), range.contains(duration) else {
                let example = range.contains(.milliseconds(500)) ? "0.5 or \"500ms\"" : "30 or \"30s\""
                throw fault(key, "expected a time from \(what), such as \(example), found \(Self.kind(value))")
            }
            return duration
        }

        func byteCount(_ key: String) throws(ConfigurationError) -> Int? {
            guard let value = value(key) else { return nil }
            guard let count = Self.text(value).flatMap(Quantities.byteCount), count > 0 else {
                throw fault(key, "expected a number of bytes, such as 65536 or \"1GiB\", found \(Self.kind(value))")
            }
            return count
        }

        /// What a number or a string says.
        private static func text(_ value: JSONValue) -> String? {
            switch value {
            case .number(let text), .string(let text): text
            default: nil
            }
        }

        func object(_ key: String, keys: [String]) throws(ConfigurationError) -> ConfigurationObject? {
            guard let value = value(key) else { return nil }
            return try ConfigurationObject(value, at: place(of: key), keys: keys)
        }

        func list(_ key: String) throws(ConfigurationError) -> [JSONValue]? {
            guard let value = value(key) else { return nil }
            guard case .array(let elements) = value, !elements.isEmpty else {
                let found = value == .array([]) ? "an empty one" : Self.kind(value)
                throw fault(key, "expected a list with at least one element, found \(found)")
            }
            return elements
        }
    }
#endif
