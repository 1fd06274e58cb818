using System.CommandLine;
using Rlhf.Runtime;

namespace Rlhf.Cli.Verbs;

/// <summary><c>rlhf pairs</c>: answers to compare, and comparisons.</summary>
internal static class PairsVerb
{
    public static Command Create()
    {
        var command = new Command("pairs", "makes preference pairs.");
        command.Add(PairsSampleVerb.Create());
        command.Add(PairsLabelVerb.Create());
        return command;
    }

    /// <summary>What is wrong with the file to write: what people labeled is never overwritten by mistake.</summary>
    public static IEnumerable<string> OutProblems(string? file, bool overwrite) =>
        file is null ? ["--out is missing; name the file to write, such as pairs.jsonl."]
        : Directory.Exists(file) ? [$"--out {file} is a folder; name a file."]
        : !overwrite && File.Exists(file) ? [$"--out {file} is already there; choose another name or add --overwrite."] : [];

    /// <summary>The file to write; makes its folder.</summary>
    /// <exception cref="ConfigurationException">None was named, or it is there already.</exception>
    public static string NewFile(string? file, bool overwrite)
    {
        ConfigurationException.ThrowIfAny([.. OutProblems(file, overwrite)]);
        if (Path.GetDirectoryName(Path.GetFullPath(file!)) is { } folder)
            Directory.CreateDirectory(folder);
        return file!;
    }
}
