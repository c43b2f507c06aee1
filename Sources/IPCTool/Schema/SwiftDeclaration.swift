import IPC
import IPCChannels

/// Declarations of a channel's messages in Swift: types with the same schema, which open the channel.
struct SwiftDeclaration {
    private let channel: String
    private var text = ""
    private var names = UniqueNames(SwiftDeclaration.reserved)
    /// The names of types that are declared.
    private var types: [MessageSchema: String] = [:]

    /// - Throws: `unsupported` if the types of Swift have another layout, or other names.
    static func text(
        _ schema: ChannelSchema, of channel: String, _ pattern: ChannelPattern
    ) throws(IPCError) -> String {
        var declaration = SwiftDeclaration(channel: channel)
        declaration.line("// \(DeclarationText.comment("\(channel): \(schema.name)")).")
        declaration.line("import IPCChannels")
        var names: [String] = []
        for part in schema.parts { names.append(try declaration.declareMessage(part.name, part.schema)) }
        let type =
            switch pattern {
            case .topic: "Topic"
            case .latest: "Latest"
            case .workQueue: "WorkQueue"
            case .service: "ServiceChannel"
            case .event: "Event"
            }
        let parameters = pattern == .event ? "" : "<\(names.joined(separator: ", "))>"
        declaration.line("")
        declaration.line(
            "// \(type)\(parameters).open(\"\(DeclarationText.comment(channel))\") opens the channel.")
        return declaration.text
    }

    private init(channel: String) { self.channel = channel }

    private mutating func line(_ line: String) { text += line + "\n" }

    private func refusal(_ advice: String) -> IPCError {
        DeclarationText.refusal("Swift", channel, advice + "; use --format json, c or numpy")
    }

    // MARK: Messages

    /// - Returns: The type of the message in Swift.
    private mutating func declareMessage(_ role: String, _ schema: MessageSchema) throws(IPCError) -> String {
        switch schema {
        case .bytes: return "RawBytes"
        case .coded(let type, let coder):
            line("")
            line(
                "// \(role): \(DeclarationText.comment("a Codable type \(type), encoded by a MessageCoder named \(coder)"))."
            )
            return "Coded<\(DeclarationText.comment(type)), \(DeclarationText.comment(coder))>"
        case .framed(let header): return "Framed<\(try declareMessage("Header", header))>"
        case .structure(let structure) where !structure.name.isEmpty && !schema.isVector:
            return try type(schema, structure.name, isMessage: true, isError: role == "Failure", path: "")
        case .enumeration(let enumeration):
            return try type(schema, enumeration.name, isMessage: true, isError: role == "Failure", path: "")
        default:
            _ = try layout(schema, path: "")
            return try name(schema, path: "")
        }
    }

    // MARK: Types

    /// The name of a type, and what has to be declared for it.
    private mutating func name(_ schema: MessageSchema, path: String) throws(IPCError) -> String {
        switch schema {
        case .integer, .float, .bool, .scalar: return schema.name
        case .structure(let structure) where schema.isVector: return structure.name
        case .structure(let structure) where structure.name.isEmpty: return try tuple(structure, path: path)
        case .structure(let structure): return try type(schema, structure.name, path: path)
        case .enumeration(let enumeration): return try type(schema, enumeration.name, path: path)
        case .array(let count, let element):
            return "InlineArray<\(count), \(try name(element, path: path + "[]"))>"
        case .optional(let wrapped, _): return "Optional<\(try name(wrapped, path: path))>"
        case .text(let capacity): return "InlineString<\(capacity)>"
        case .list(let capacity, let element):
            return "InlineList<\(try name(element, path: path + "[]")), \(capacity)>"
        case .opaque(let byteCount, _):
            throw refusal("\(place(path)) has \(byteCount) bytes without a known type")
        case .bytes, .coded, .framed: throw refusal("\(place(path)) is of a kind that only whole messages have")
        }
    }

    private func place(_ path: String) -> String { path.isEmpty ? "the message" : path }

    private mutating func tuple(_ structure: MessageSchema.Structure, path: String) throws(IPCError) -> String {
        guard structure.fields.count != 1 else { throw refusal("\(place(path)) is a tuple with one element") }
        var elements: [String] = []
        for (number, field) in structure.fields.enumerated() {
            let type = try name(field.schema, path: DeclarationText.path(path, field.name))
            elements.append(field.name == "\(number)" ? type : "\(try identifier(field.name, path)): \(type)")
        }
        return "(\(elements.joined(separator: ", ")))"
    }

    /// The name of a structure's or an enumeration's type, which is declared now if it is not yet.
    ///
    /// - Parameter isMessage: Whether its name is a part of the channel's type.
    private mutating func type(
        _ schema: MessageSchema, _ schemaName: String, isMessage: Bool = false, isError: Bool = false, path: String
    ) throws(IPCError) -> String {
        if let known = types[schema] { return known }
        if isMessage { _ = try layout(schema, path: path) }
        let name = names.take(Self.typeName(schemaName))
        types[schema] = name
        var members: [String] = []
        if isMessage, name != schemaName {
            members.append("static var messageName: String { \(Self.literal(schemaName)) }")
        }
        var protocols = (isError ? ["Error"] : []) + ["BitwiseCopyable", "Sendable"]
        if isMessage, name != schemaName { protocols.append("NamedMessage") }
        let keyword: String
        switch schema {
        case .structure(let structure):
            keyword = "struct"
            for field in structure.fields {
                let type = try self.name(field.schema, path: DeclarationText.path(path, field.name))
                members.append("var \(try identifier(field.name, path)): \(type)")
            }
        case .enumeration(let enumeration):
            keyword = "enum"
            if let rawType = try rawType(enumeration, path) { protocols.insert(rawType, at: 0) }
            for element in enumeration.cases {
                let raw: String =
                    switch element.rawValue {
                    case nil: ""
                    case .number(let digits): " = \(digits)"
                    case .text(let text): " = \(Self.literal(text))"
                    }
                members.append("case \(try identifier(element.name, path))\(raw)")
            }
        default: throw refusal("\(place(path)) has no type")
        }
        line("")
        line("\(keyword) \(name): \(protocols.joined(separator: ", ")) {")
        for member in members { line("    " + member) }
        line("}")
        return name
    }

    // MARK: Raw values

    /// The type of the raw values; nil if there are none.
    private func rawType(_ enumeration: MessageSchema.Enumeration, _ path: String) throws(IPCError) -> String? {
        let rawValues = enumeration.cases.compactMap(\.rawValue)
        guard !rawValues.isEmpty else { return nil }
        guard rawValues.count == enumeration.cases.count, Set(rawValues).count == rawValues.count else {
            throw refusal("\(place(path)) has cases without a raw value, or with the same one")
        }
        var (texts, digits): (Int, [String]) = (0, [])
        for value in rawValues {
            switch value {
            case .text: texts += 1
            case .number(let number): digits.append(number)
            }
        }
        if texts == rawValues.count { return "String" }
        if texts == 0 {
            // As they are written: a schema has them as Swift prints them.
            if digits.allSatisfy({ Int64($0)?.description == $0 }) { return "Int" }
            if digits.allSatisfy({ UInt64($0)?.description == $0 }) { return "UInt64" }
            if digits.allSatisfy({ Double($0)?.description == $0 }) { return "Double" }
        }
        throw refusal("\(place(path)) has raw values of no type of Swift")
    }

    // MARK: Layout

    /// Checks that a message has the layout that Swift gives it, which that of another language is, too.
    ///
    /// - Parameter refusal: The error of the other language.
    static func checkLayout(
        _ schema: MessageSchema, of channel: String, _ refusal: (String) -> IPCError
    ) throws(IPCError) {
        let declaration = SwiftDeclaration(channel: channel)
        do throws(IPCError) { _ = try declaration.layout(schema, path: "") } catch {
            throw refusal(error.advice.split(separator: ";").first.map(String.init) ?? error.advice)
        }
    }

    /// Where Swift places a type.
    private struct Layout {
        var size = 0
        var alignment = 1
        /// The numbers that no value has, from `first` on; an optional takes the first.
        var spare: Spare?

        var stride: Int { max((size + alignment - 1) & -alignment, 1) }
    }

    private struct Spare {
        var offset = 0
        let byteCount: Int
        var first: UInt64
        var count: UInt64

        init?(byteCount: Int, after first: UInt64) {
            let all: UInt64 = 1 << UInt64(8 * byteCount)
            guard byteCount > 0, first < all else { return nil }
            (self.byteCount, self.first, count) = (byteCount, first, all - first)
        }
    }

    /// The layout that Swift has for a schema.
    ///
    /// - Throws: `unsupported` if it is another one than that of the schema.
    private func layout(_ schema: MessageSchema, path: String) throws(IPCError) -> Layout {
        var layout = Layout(size: schema.byteCount, alignment: schema.alignment)
        switch schema {
        case .bool: layout.spare = Spare(byteCount: 1, after: 2)
        case .enumeration(let enumeration):
            layout.spare = Spare(byteCount: enumeration.byteCount, after: UInt64(enumeration.cases.count))
        case .structure where schema.isVector: break
        case .structure(let structure): layout = try self.layout(structure, path: path)
        case .array(let count, let element):
            layout.spare = count == 0 ? nil : try self.layout(element, path: path + "[]").spare
        case .list(_, let element): _ = try self.layout(element, path: path + "[]")
        case .optional(let wrapped, let absence):
            layout = try self.layout(wrapped, path: path)
            if let spare = layout.spare {
                guard absence == .pattern(spare.first, byteCount: spare.byteCount, offset: spare.offset) else {
                    throw refusal("\(place(path)) marks none in another way than Swift")
                }
                layout.spare?.first += 1
                layout.spare?.count -= 1
                if spare.count == 1 { layout.spare = nil }
            } else {
                guard absence == .byteAfterValue else {
                    throw refusal("\(place(path)) marks none in another way than Swift")
                }
                layout.size += 1
            }
        default: break
        }
        return layout
    }

    private func layout(_ structure: MessageSchema.Structure, path: String) throws(IPCError) -> Layout {
        var layout = Layout()
        for field in structure.fields {
            let fieldPath = DeclarationText.path(path, field.name)
            let part = try self.layout(field.schema, path: fieldPath)
            let offset = (layout.size + part.alignment - 1) & -part.alignment
            guard offset == field.offset else {
                throw refusal("\(fieldPath) is at byte \(field.offset), and Swift places it at byte \(offset)")
            }
            layout.size = offset + part.size
            layout.alignment = max(layout.alignment, part.alignment)
            if var spare = part.spare, spare.count > layout.spare?.count ?? 0 {
                spare.offset += field.offset
                layout.spare = spare
            }
        }
        guard layout.size == structure.byteCount, layout.alignment == structure.alignment else {
            throw refusal(
                "\(place(path)) has \(structure.byteCount) bytes with the alignment \(structure.alignment), and in Swift "
                    + "\(layout.size) with \(layout.alignment)")
        }
        return layout
    }

    // MARK: Names

    /// A name of a field or a case, which has to be that of the schema.
    private func identifier(_ name: String, _ path: String) throws(IPCError) -> String {
        if Self.isPlain(name) { return Self.keywords.contains(name) ? "`\(name)`" : name }
        // A raw identifier (SE-0451).
        let isRaw =
            name.unicodeScalars.allSatisfy { scalar in
                let isSpace = scalar.isControl || scalar.properties.isWhitespace
                return scalar != "`" && scalar != "\\" && (scalar == " " || !isSpace)
            }
            && name.unicodeScalars.contains { $0.properties.isAlphabetic || $0.properties.numericType != nil }
        guard isRaw else {
            throw refusal("\(DeclarationText.path(path, name)) has a name that Swift cannot have")
        }
        return "`\(name)`"
    }

    private static func isPlain(_ name: String) -> Bool {
        guard let first = name.unicodeScalars.first, name != "_" else { return false }
        return (first == "_" || first.properties.isAlphabetic)
            && name.unicodeScalars.allSatisfy { scalar in
                scalar == "_" || scalar.properties.isAlphabetic
                    || scalar.isASCII && scalar.properties.numericType != nil
            }
    }

    /// A name for a type. If it is not that of the schema, the type says that one.
    private static func typeName(_ name: String) -> String {
        if isPlain(name), !keywords.contains(name) { return name }
        var result = String(
            name.map { character in isPlain("x\(character)") && character.isASCII ? character : "_" })
        if result.first.map({ $0.isNumber }) ?? true { result = "Type" + result }
        return keywords.contains(result) || result.allSatisfy({ $0 == "_" }) ? result + "Type" : result
    }

    private static func literal(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case _
            where scalar.value >= 0x20 && (scalar.isASCII ? scalar.value < 0x7f : scalar.properties.isAlphabetic):
                result.unicodeScalars.append(scalar)
            default: result += "\\u{\(String(scalar.value, radix: 16))}"
            }
        }
        return result + "\""
    }

    /// What these declarations use, and so cannot declare.
    private static let reserved: Set<String> = [
        "BitwiseCopyable", "Bool", "Coded", "Double", "Error", "Event", "Float", "Float16", "Float80", "Framed",
        "InlineArray",
        "InlineList", "InlineString", "Int", "Int8", "Int16", "Int32", "Int64", "Int128", "Latest", "NamedMessage",
        "Never",
        "Optional", "RawBytes", "Sendable", "ServiceChannel", "String", "Swift", "IPCChannels", "Topic", "UInt",
        "UInt8",
        "UInt16", "UInt32", "UInt64", "UInt128", "Unicode", "Void", "WorkQueue", "Character", "Any", "Type", "Protocol",
    ]

    private static let keywords: Set<String> = [
        "Any", "Protocol", "Self", "Type", "as", "associatedtype", "break", "case", "catch", "class", "continue",
        "default",
        "defer", "deinit", "do", "else", "enum", "extension", "fallthrough", "false", "fileprivate", "for", "func",
        "guard",
        "if", "import", "in", "init", "inout", "internal", "is", "let", "nil", "operator", "precedencegroup", "private",
        "protocol", "public", "repeat", "rethrows", "return", "self", "static", "struct", "subscript", "super",
        "switch",
        "throw", "throws", "true", "try", "typealias", "var", "where", "while",
    ]
}

extension MessageSchema {
    /// Whether it is that of a vector of the processor, such as `SIMD4<Float>`.
    var isVector: Bool {
        guard case .structure(let structure) = self, let first = structure.fields.first else { return false }
        let scalar: MessageSchema
        let count: Int
        if structure.fields.count == 1, case .array(let number, let element) = first.schema {
            (scalar, count) = (element, number)
        } else {
            (scalar, count) = (first.schema, structure.fields.count)
        }
        switch scalar {
        case .integer, .float: break
        default: return false
        }
        // A vector of three is as large as one of four.
        let slots = count == 3 ? 4 : count
        guard [2, 4, 8, 16, 32, 64].contains(slots) else { return false }
        let fields =
            count > 4
            ? [Field("elements", at: 0, .array(count: count, of: scalar))]
            : zip(["x", "y", "z", "w"], 0..<count).map { Field($0, at: $1 * scalar.byteCount, scalar) }
        return structure.fields == fields && structure.name == "SIMD\(count)<\(scalar.name)>"
            && structure.byteCount == slots * scalar.byteCount
    }
}
