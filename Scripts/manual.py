"""Writes the manual page of a command, from what it tells of its own subcommands and options: ipc --experimental-dump-help | manual.py VERSION."""
import json
import re
import sys


def escaped(text):
    """Text as roff takes it: no line begins with a request, and no hyphen becomes another character."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line[:1] in ".'" else line for line in text.splitlines())


def paragraph(text):
    """Lines that are indented stay as they are; others are filled."""
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        lines = block.splitlines()
        if any(line.startswith("  ") for line in lines):
            print(".PP\n.nf\n" + escaped(block) + "\n.fi")
        else:
            print(".PP\n" + escaped(block))


def names(argument):
    """An option with all its names, or the name of an argument."""
    value = "<" + (argument.get("valueName") or "value") + ">"
    if argument["kind"] == "positional":
        return value + ("..." if argument["isRepeating"] else "")
    dashes = {"short": "-", "long": "--", "longWithSingleDash": "-"}
    all_names = ", ".join(dashes[name["kind"]] + name["name"] for name in argument.get("names", []))
    return all_names + (" " + value if argument["kind"] == "option" else "")


def command(node, path):
    print('.SS "' + escaped(" ".join(path)) + '"' if len(path) > 1 else ".SH DESCRIPTION")
    if node.get("abstract"):
        paragraph(node["abstract"])
    if node.get("discussion"):
        paragraph(node["discussion"])
    for argument in node.get("arguments", []):
        if not argument.get("shouldDisplay", True) or argument.get("valueName") in ("help", "version"):
            continue
        print(".TP\n.B " + escaped(names(argument)))
        print(escaped(argument.get("abstract") or argument.get("discussion") or ""))
    children = [child for child in node.get("subcommands", []) if child.get("shouldDisplay", True)]
    if len(path) == 1:
        print(".SH COMMANDS")
    for child in children:
        if child["commandName"] != "help":
            command(child, path + [child["commandName"]])


tool = json.load(sys.stdin)["command"]
name = tool["commandName"]
print(".TH " + escaped(name.upper()) + ' 1 "" "swift-ipc ' + sys.argv[1] + '"')
print(".SH NAME\n" + escaped(name) + " \\- " + escaped(tool["abstract"]))
print(".SH SYNOPSIS\n.B " + escaped(name) + "\n.I command\n.RI [ options ]")
command(tool, [name])
