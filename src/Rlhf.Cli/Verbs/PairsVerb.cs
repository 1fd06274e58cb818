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

    /// <summary>The file to write: what people labelled is never overwritten by mistake.</summary>
    /// <exception cref="ConfigurationException">None was named, it is there already, or its folder is not.</exception>
    public static string NewFile(string? file, bool overwrite)
    {
        if (file is null)
            throw new ConfigurationException(["--out is missing; name the file to write, such as pairs.jsonl."]);
        if (Directory.Exists(file))
            throw new ConfigurationException([$"--out {file} is a folder; name a file."]);
        if (!overwrite && File.Exists(file))
            throw new ConfigurationException([$"--out {file} is already there; choose another name or add --overwrite."]);
        if (Path.GetDirectoryName(Path.GetFullPath(file)) is { } folder)
            Directory.CreateDirectory(folder);
        return file;
    }
}
