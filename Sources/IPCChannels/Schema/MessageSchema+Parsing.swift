public import IPC

// Schemas that come from elsewhere: from a channel, a file, or a program in another language.
extension MessageSchema {
    /// Parses a schema of JSON.
    ///
    /// - Throws: ``/IPC/IPCError/Code/invalidArgument``, with the place of the mistake.
    public init(json: String) throws(IPCError) {
        do throws(JSONError) {
            try self.init(JSONValue(parsing: json), isWhole: true)
        } catch {
            throw IPCError(.invalidArgument, "read schema", "", advice: "the schema is not valid: \(error.reason)")
        }
    }

    /// The maximum size of a message that a schema may describe, in bytes.
    private static var maximumByteCount: Int { Int(UInt32.max) }

    /// The maximum length of a field's name with those of what it is in, in bytes. A place that checks a value keeps all of them.
    private static var maximumPathLength: Int { 1024 }

    /// - Parameter isWhole: Whether it is of a whole message, and not of a part.
    init(_ value: JSONValue, isWhole: Bool) throws(JSONError) {
        var parser = SchemaParser()
        self = try parser.schema(value, isWhole: isWhole, path: "")
    }

    /// Reads a schema, and checks that it can be one.
    private struct SchemaParser {
        private var partsLeft = 100_000

        mutating func schema(_ value: JSONValue, isWhole: Bool = false, path: String) throws(JSONError) -> MessageSchema
        {
            partsLeft -= 1
            guard partsLeft >= 0 else { throw JSONError("it has too many parts") }
            if case .string(let name) = value { return try simple(name, isWhole: isWhole, path) }
            guard case .object(let members) = value, members.count == 1 else {
                throw JSONError("\(place(path)) is neither the name of a kind nor an object with one member")
            }
            let (kind, content) = (members[0].key, members[0].value)
            if !isWhole, ["framed", "coded"].contains(kind) {
                throw JSONError("\(place(path)) is \(kind), which only a whole message can be")
            }
            let schema = try composed(kind, content, path)
            guard schema.byteCount <= MessageSchema.maximumByteCount, schema.stride <= MessageSchema.maximumByteCount
            else {
                throw JSONError("\(place(path)) has \(schema.byteCount) bytes; there are at most 4 GiB")
            }
            return schema
        }

        private func place(_ path: String) -> String { path.isEmpty ? "the schema" : "the schema of \(path)" }

        private func simple(_ name: String, isWhole: Bool, _ path: String) throws(JSONError) -> MessageSchema {
            switch name {
            case "bytes" where isWhole: return .bytes
            case "bool": return .bool
            case "char": return .scalar
            case "f16": return .float(byteCount: 2)
            case "f32": return .float(byteCount: 4)
            case "f64": return .float(byteCount: 8)
            case "f80": return .float(byteCount: 16)
            default:
                guard let bits = Int(name.dropFirst()), [8, 16, 32, 64, 128].contains(bits),
                    name.hasPrefix("u") || name.hasPrefix("i"), name == "\(name.prefix(1))\(bits)"
                else { throw JSONError("\(place(path)) is of the unknown kind \(name)") }
                return .integer(byteCount: bits / 8, isSigned: name.hasPrefix("i"))
            }
        }

        private mutating func composed(
            _ kind: String, _ content: JSONValue, _ path: String
        ) throws(JSONError) -> MessageSchema {
            switch kind {
            case "framed": return .framed(try schema(content, path: path))
            case "coded":
                return .coded(
                    type: try text(content, "type", path), coder: try text(content, "coder", path))
            case "struct": return .structure(try structure(content, path))
            case "array":
                let count = try number(content, "count", path)
                let element = try part(content, "of", path + "[]")
                try checkProduct(count, element, path)
                return .array(count: count, of: element)
            case "enum": return .enumeration(try enumeration(content, path))
            case "optional": return try optional(content, path)
            case "text": return .text(capacity: try number(content, "capacity", path))
            case "list":
                let capacity = try number(content, "capacity", path)
                let element = try part(content, "of", path + "[]")
                try checkProduct(capacity, element, path)
                return .list(capacity: capacity, of: element)
            case "opaque":
                return .opaque(byteCount: try number(content, "size", path), alignment: try alignment(content, path))
            default: throw JSONError("\(place(path)) is of the unknown kind \(kind)")
            }
        }

        private mutating func part(
            _ content: JSONValue, _ key: String, _ path: String
        ) throws(JSONError) -> MessageSchema {
            guard let value = content[key] else { throw JSONError("\(place(path)) has no \"\(key)\"") }
            return try schema(value, path: path)
        }

        private func checkProduct(_ count: Int, _ element: MessageSchema, _ path: String) throws(JSONError) {
            let (size, isTooLarge) = count.multipliedReportingOverflow(by: element.stride)
            guard !isTooLarge, size <= MessageSchema.maximumByteCount else {
                throw JSONError(
                    "\(place(path)) has \(count) elements of \(element.stride) bytes; there are at most 4 GiB")
            }
        }

        private func text(_ content: JSONValue, _ key: String, _ path: String) throws(JSONError) -> String {
            guard case .string(let text) = content[key] else { throw JSONError("\(place(path)) has no \"\(key)\"") }
            return text
        }

        private func number(_ content: JSONValue, _ key: String, _ path: String) throws(JSONError) -> Int {
            guard case .number(let digits) = content[key], let number = Int(digits),
                (0...MessageSchema.maximumByteCount).contains(number)
            else { throw JSONError("\(place(path)) needs a whole number of at most 4294967295 as \"\(key)\"") }
            return number
        }

        private func alignment(_ content: JSONValue, _ path: String) throws(JSONError) -> Int {
            let alignment = try number(content, "alignment", path)
            guard [1, 2, 4, 8, 16].contains(alignment) else {
                throw JSONError("\(place(path)) has the alignment \(alignment); there are 1, 2, 4, 8 and 16")
            }
            return alignment
        }

        private mutating func structure(_ content: JSONValue, _ path: String) throws(JSONError) -> Structure {
            let byteCount = try number(content, "size", path)
            guard case .array(let values) = content["fields"] else {
                throw JSONError("\(place(path)) has no \"fields\"")
            }
            var fields: [Field] = []
            var names: Set<String> = []
            for value in values {
                let name = try text(value, "name", path)
                let fieldPath = path.isEmpty ? name : path + "." + name
                guard fieldPath.utf8.count <= MessageSchema.maximumPathLength else {
                    throw JSONError(
                        "the field \(name.prefix(32))… has more than \(MessageSchema.maximumPathLength) bytes in its name, "
                            + "with those of the fields that it is in")
                }
                guard names.insert(name).inserted else { throw JSONError("\(place(path)) has two fields \(name)") }
                let field = Field(
                    name, at: try number(value, "offset", fieldPath), try part(value, "type", fieldPath))
                guard field.offset + field.schema.byteCount <= byteCount else {
                    throw JSONError("\(place(fieldPath)) does not fit into \(byteCount) bytes")
                }
                fields.append(field)
            }
            try checkOverlaps(fields)
            return Structure(
                name: try text(content, "name", path), byteCount: byteCount, alignment: try alignment(content, path),
                fields: fields)
        }

        /// Bytes that are several fields would be as many values as anybody wants.
        private func checkOverlaps(_ fields: [Field]) throws(JSONError) {
            let inOrder = fields.filter { $0.schema.byteCount > 0 }.sorted { $0.offset < $1.offset }
            for (field, next) in zip(inOrder, inOrder.dropFirst())
            where field.offset + field.schema.byteCount > next.offset {
                throw JSONError(
                    "the fields \(field.name) and \(next.name) overlap; give the bytes of a union as \"opaque\"")
            }
        }

        private func enumeration(_ content: JSONValue, _ path: String) throws(JSONError) -> Enumeration {
            guard case .array(let values) = content["cases"], !values.isEmpty else {
                throw JSONError("\(place(path)) has no \"cases\"")
            }
            var cases: [Case] = []
            var names: Set<String> = []
            for value in values {
                let known: Case
                if case .string(let name) = value {
                    known = Case(name)
                } else {
                    known = Case(try text(value, "name", path), rawValue: try rawValue(value, path))
                }
                guard names.insert(known.name).inserted else {
                    throw JSONError("\(place(path)) has two cases \(known.name)")
                }
                cases.append(known)
            }
            return Enumeration(name: try text(content, "name", path), cases: cases)
        }

        private func rawValue(_ content: JSONValue, _ path: String) throws(JSONError) -> RawValue {
            switch content["raw"] {
            case .number(let digits): return .number(digits)
            case .string(let text): return .text(text)
            default: throw JSONError("\(place(path)) needs a number or a string as \"raw\"")
            }
        }

        private mutating func optional(_ content: JSONValue, _ path: String) throws(JSONError) -> MessageSchema {
            let wrapped = try part(content, "of", path)
            if case .string("byte") = content["none"] { return .optional(wrapped, .byteAfterValue) }
            guard let mark = content["none"] else { throw JSONError("\(place(path)) has no \"none\"") }
            guard case .number(let digits) = mark["value"], let value = UInt64(digits) else {
                throw JSONError("\(place(path)) needs a whole number as \"value\"")
            }
            let (size, offset) = (try number(mark, "size", path), try number(mark, "offset", path))
            guard [1, 2, 4].contains(size), offset + size <= wrapped.byteCount, value >> UInt64(size * 8) == 0 else {
                throw JSONError("\(place(path)) marks none by \(value) in \(size) bytes at \(offset), which cannot be")
            }
            return .optional(wrapped, .pattern(value, byteCount: size, offset: offset))
        }
    }
}
