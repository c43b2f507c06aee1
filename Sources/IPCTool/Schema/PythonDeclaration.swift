import IPC
import IPCChannels

/// Declarations of a channel's messages in Python: dataclasses and enumerations that `swift_ipc` has the same type for.
struct PythonDeclaration {
    private let channel: String
    private var text = ""
    private var names = UniqueNames(PythonDeclaration.reserved)
    /// The names of types that are declared.
    private var types: [MessageSchema: String] = [:]

    /// - Throws: `unsupported` if a part has no type in Python, or another layout, or a name that Python cannot have.
    static func text(
        _ schema: ChannelSchema, of channel: String, _ pattern: ChannelPattern
    ) throws(IPCError) -> String {
        var declaration = PythonDeclaration(channel: channel)
        var types: [String] = []
        for part in schema.parts { types.append(try declaration.message(part.schema, part.name)) }
        let call =
            switch pattern {
            case .topic: "topic"
            case .latest: "latest"
            case .workQueue: "queue"
            case .service: "service"
            case .event: "event"
            }
        let arguments = [NumPyDeclaration.literal(channel)] + (pattern == .event ? [] : types)
        return """
            # \(DeclarationText.comment("\(channel): \(schema.name)")).
            import dataclasses
            import enum
            from typing import Optional

            import swift_ipc as ipc
            \(declaration.text)
            # ipc.\(call)(\(arguments.joined(separator: ", "))) opens the channel.

            """
    }

    private init(channel: String) { self.channel = channel }

    private func refusal(_ advice: String) -> IPCError {
        DeclarationText.refusal(
            "Python", channel, advice + "; open the channel by its name alone, and use dicts (see --format json)")
    }

    private func place(_ path: String) -> String { path.isEmpty ? "the message" : path }

    // MARK: Types

    /// - Returns: The type of a whole message in Python.
    private mutating func message(_ schema: MessageSchema, _ role: String) throws(IPCError) -> String {
        switch schema {
        case .bytes: return "bytes"
        case .coded(let type, let coder):
            throw refusal("\(role.lowercased()) is of \(type), encoded by a coder named \(coder)")
        case .framed(let header): return "ipc.Framed.of(\(try message(header, "Header")))"
        default:
            try SwiftDeclaration.checkLayout(schema, of: channel) { advice in refusal(advice) }
            return try type(schema, isMessage: true, path: "")
        }
    }

    private mutating func type(
        _ schema: MessageSchema, isMessage: Bool = false, path: String
    ) throws(IPCError) -> String {
        switch schema {
        case .integer(let byteCount, let isSigned): return "ipc.\(isSigned ? "i" : "u")\(byteCount * 8)"
        case .float(let byteCount) where byteCount <= 8: return "ipc.f\(byteCount * 8)"
        case .bool: return "bool"
        case .scalar: return "ipc.char"
        case .text(let capacity): return "ipc.Text[\(capacity)]"
        case .array(let count, let element): return "ipc.Array[\(try type(element, path: path + "[]")), \(count)]"
        case .list(let capacity, let element): return "ipc.List[\(try type(element, path: path + "[]")), \(capacity)]"
        case .optional(.optional, _): throw refusal("\(place(path)) is an optional of an optional")
        case .optional(let wrapped, _): return "Optional[\(try type(wrapped, path: path))]"
        case .structure where schema.isVector: throw refusal("\(place(path)) is a vector")
        case .structure(let structure) where !structure.name.isEmpty:
            return try declare(schema, structure.name, isMessage, path)
        case .enumeration(let enumeration): return try declare(schema, enumeration.name, isMessage, path)
        case .structure: throw refusal("\(place(path)) is a tuple")
        case .float: throw refusal("\(place(path)) is a number of \(schema.byteCount) bytes")
        case .opaque(let byteCount, _): throw refusal("\(place(path)) has \(byteCount) bytes without a known type")
        case .bytes, .coded, .framed: throw refusal("\(place(path)) is of a kind that only whole messages have")
        }
    }

    /// The name of a class, which is declared now if it is not yet.
    ///
    /// - Parameter isMessage: Whether its name is a part of the channel's type.
    private mutating func declare(
        _ schema: MessageSchema, _ schemaName: String, _ isMessage: Bool, _ path: String
    ) throws(IPCError) -> String {
        if let known = types[schema] { return known }
        let name = names.take(Self.className(schemaName))
        types[schema] = name
        var members: [String] = []
        var head = "@dataclasses.dataclass\nclass \(name):"
        switch schema {
        case .structure(let structure):
            for field in structure.fields {
                let fieldPath = DeclarationText.path(path, field.name)
                members.append("\(try identifier(field.name, path)): \(try type(field.schema, path: fieldPath))")
            }
            if members.isEmpty { members.append("pass") }
        case .enumeration(let enumeration):
            head = "class \(name)(enum.Enum):"
            guard !enumeration.cases.isEmpty else { throw refusal("\(place(path)) has no cases") }
            let rawValues = enumeration.cases.compactMap(\.rawValue)
            guard Set(rawValues).count == rawValues.count else {
                throw refusal("\(place(path)) has two cases with the same raw value")
            }
            for element in enumeration.cases {
                let value: String =
                    switch element.rawValue {
                    case nil: "ipc.case()"
                    case .number(let digits): digits
                    case .text(let text): NumPyDeclaration.literal(text)
                    }
                members.append("\(try identifier(element.name, path, isCase: true)) = \(value)")
            }
        default: break
        }
        text += "\n\n\(head)\n" + members.map { "    \($0)\n" }.joined()
        if isMessage, name != schemaName { text += "\n\n\(name).__name__ = \(NumPyDeclaration.literal(schemaName))\n" }
        return name
    }

    // MARK: Names

    /// A name of a field or a case, which has to be that of the schema.
    private func identifier(_ name: String, _ path: String, isCase: Bool = false) throws(IPCError) -> String {
        // Python changes names that begin with two underscores, and gives its own meaning to some of an enumeration.
        let isOwn = name.hasPrefix("__") || isCase && (name == "mro" || name.hasPrefix("_"))
        guard Self.isPlain(name), !Self.keywords.contains(name), !isOwn else {
            throw refusal("\(DeclarationText.path(path, name)) has a name that Python cannot have")
        }
        return name
    }

    /// In ASCII: Python takes two names for one if they look alike.
    private static func isPlain(_ name: String) -> Bool {
        guard let first = name.unicodeScalars.first, first == "_" || first.properties.isAlphabetic else { return false }
        return name.unicodeScalars.allSatisfy { scalar in
            scalar == "_" || scalar.isASCII && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil)
        }
    }

    /// A name for a class. If it is not that of the schema, the class says that one.
    private static func className(_ name: String) -> String {
        if isPlain(name), !keywords.contains(name), !name.hasPrefix("__") { return name }
        let result = String(name.map { character in isPlain("x\(character)") ? character : "_" })
        return "Type_" + result
    }

    /// What these declarations use, and so cannot declare.
    private static let reserved: Set<String> = ["Optional", "bool", "bytes", "dataclasses", "enum", "ipc"]

    private static let keywords: Set<String> = [
        "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
        "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
        "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
    ]
}
