using System.Diagnostics;
using System.Text;
using System.Text.Json;
using Rlhf.Faults;

namespace Rlhf.Tests.Cli;

/// <summary>What the command said and how it ended.</summary>
public sealed record CommandResult(int ExitCode, string Output, string Error)
{
    /// <summary>Standard output as JSON; fails when anything else is on it.</summary>
    public JsonElement Json => JsonDocument.Parse(Output).RootElement;
}

/// <summary>Runs the built command as a process of its own, the way a user does.</summary>
public static class RlhfCommand
{
    /// <summary>After which a command hangs: no busy machine is this slow.</summary>
    public static readonly TimeSpan Limit = TimeSpan.FromMinutes(15);

    public static CommandResult Run(string folder, params string[] arguments)
    {
        using var process = Start(folder, arguments);
        return Finish(process);
    }

    /// <summary>As <see cref="Run"/>, and fails unless the command succeeds.</summary>
    public static CommandResult Succeed(string folder, params string[] arguments)
    {
        var result = Run(folder, arguments);
        Assert.True(result.ExitCode == 0,
            $"rlhf {string.Join(' ', arguments)} ended with {result.ExitCode}: {result.Error}{result.Output}");
        return result;
    }

    /// <summary>As <see cref="Run"/>, with text on standard input.</summary>
    public static CommandResult RunWithInput(string folder, string input, params string[] arguments)
    {
        using var process = Start(folder, [], arguments, input);
        return Finish(process);
    }

    public static Process Start(string folder, params string[] arguments) => Start(folder, [], arguments);

    /// <summary>Starts the command with further variables. Unless they say otherwise it has no token and asks no Hub.</summary>
    public static Process Start(string folder, Dictionary<string, string> variables, params string[] arguments) =>
        Start(folder, variables, arguments, "");

    private static Process Start(string folder, Dictionary<string, string> variables, string[] arguments, string input)
    {
        var start = new ProcessStartInfo("dotnet")
        {
            WorkingDirectory = folder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = Encoding.UTF8,
            StandardErrorEncoding = Encoding.UTF8,
        };
        start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, "Rlhf.Cli.dll"));
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        foreach (var name in start.Environment.Keys.Where(IsOfTheHub).ToArray())
            start.Environment.Remove(name);
        start.Environment["HF_HOME"] = Path.Combine(folder, "huggingface");
        start.Environment["HF_HUB_OFFLINE"] = "1";
        foreach (var (name, value) in variables)
            start.Environment[name] = value;
        var process = Process.Start(start)!;
        using (var stdin = new StreamWriter(process.StandardInput.BaseStream, new UTF8Encoding(false)))
            stdin.Write(input);
        return process;
    }

    /// <summary>Starts the command with faults in it (<see cref="FaultPlan"/>).</summary>
    public static Process StartWithFaults(string folder, string faults, params string[] arguments) => Start(folder, new()
    {
        ["DOTNET_STARTUP_HOOKS"] = Path.Combine(AppContext.BaseDirectory, "Rlhf.Faults.dll"),
        [FaultPlan.Variable] = faults,
    }, arguments);

    private static bool IsOfTheHub(string variable) => variable.StartsWith("HF_", StringComparison.Ordinal)
        || variable is "HUGGING_FACE_HUB_TOKEN" or "HUGGINGFACE_HUB_CACHE" or "TRANSFORMERS_OFFLINE";

    /// <summary>Reads lines until one holds this, and returns them all; fails when the stream ends before.</summary>
    public static string ReadUntil(StreamReader stream, string text)
    {
        var all = new StringBuilder();
        while (stream.ReadLine() is { } line)
        {
            all.AppendLine(line);
            if (line.Contains(text, StringComparison.Ordinal))
                return all.ToString();
        }
        Assert.Fail($"\"{text}\" never came: {all}");
        return "";
    }

    public static CommandResult Finish(Process process)
    {
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        if (!process.WaitForExit(Limit))
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail($"The command did not end within {Limit}: {output.Result}{error.Result}");
        }
        return new(process.ExitCode, output.Result, error.Result);
    }
}

/// <summary>Toy models made by the command itself: a tokenizer of each kind, a language model and a classifier with random
/// weights.</summary>
public sealed class ToyModels : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();

    public ToyModels()
    {
        File.WriteAllLines(Path.Combine(Folder, "preferences.jsonl"), Enumerable.Range(0, 60).Select(i =>
            $$"""{"prompt":"Film {{i}}","chosen":" made me smile {{i % 7}} times","rejected":" put me to sleep{{(i % 3 == 0 ? " again" : "")}}"}"""));
        File.WriteAllLines(Path.Combine(Folder, "reviews.csv"), [
            "text,label",
            .. Enumerable.Range(0, 160).Select(i => $"\"{Review(i)}\",{(i % 2 == 0 ? 1 : 0)}"),
        ]);
        Succeed("tokenizer", "train", "--dataset", "reviews.csv", "--vocab-size", "300", "--output", "bpe");
        Succeed("tokenizer", "train", "--kind", "wordpiece", "--dataset", "reviews.csv", "--vocab-size", "120", "--output",
            "wordpiece");
        Succeed("init", "--tokenizer", "bpe", "--layers", "1", "--hidden-size", "16", "--heads", "2", "--max-positions", "64",
            "--output", "policy");
        Succeed("init", "--model-type", "distilbert", "--tokenizer", "wordpiece", "--layers", "1", "--hidden-size", "16",
            "--heads", "2",
            "--max-positions", "64", "--output", "classifier");
    }

    /// <summary>Working directory of the commands; holds reviews.csv, bpe/, wordpiece/, policy/ and classifier/.</summary>
    public string Folder => folder.Path;

    public CommandResult Run(params string[] arguments) => RlhfCommand.Run(Folder, arguments);

    public CommandResult Succeed(params string[] arguments) => RlhfCommand.Succeed(Folder, arguments);

    public string PathOf(params string[] parts) => Path.Combine([Folder, .. parts]);

    public void Dispose() => folder.Dispose();

    private static string Review(int i)
    {
        string[] subjects = ["The film", "This story", "Her acting", "The music", "That ending"];
        string[] good = ["made me smile", "was a warm delight", "shone from start to finish", "won my heart"];
        string[] bad = ["put me to sleep", "was a dull mess", "fell apart early on", "wasted my evening"];
        string[] closings = ["and I told my friends so.", "as anyone could see.", "which I had not expected.",
            "and the crowd agreed."];
        return $"{subjects[i % 5]} {(i % 2 == 0 ? good : bad)[i / 2 % 4]} {closings[i / 8 % 4]}";
    }
}
