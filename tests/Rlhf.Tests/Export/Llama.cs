using System.Diagnostics;
using System.Text.Json;
using Rlhf.LlamaCpp;
using Rlhf.Tests.Cli;

namespace Rlhf.Tests.Export;

/// <summary>Asks llama.cpp, in a process of its own (tests/Rlhf.LlamaCpp).</summary>
internal static class Llama
{
    /// <summary>Answers about a GGUF file; skips the test where the native library does not load.</summary>
    public static LlamaAnswers Ask(LlamaQuestions questions)
    {
        // artifacts/bin/Rlhf.Tests/release and artifacts/bin/Rlhf.LlamaCpp/release
        string own = Path.TrimEndingDirectorySeparator(AppContext.BaseDirectory);
        string program = Path.Combine(own, "..", "..", "Rlhf.LlamaCpp", Path.GetFileName(own), "Rlhf.LlamaCpp.dll");
        Assert.SkipUnless(File.Exists(program), $"{program} was not built.");
        using var process = Process.Start(new ProcessStartInfo("dotnet", [program])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        process.StandardInput.Write(JsonSerializer.Serialize(questions));
        process.StandardInput.Close();
        if (!process.WaitForExit(RlhfCommand.Limit))
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail($"llama.cpp did not answer within {RlhfCommand.Limit}: {error.Result}");
        }
        Assert.True(process.ExitCode == 0, $"llama.cpp ended with {process.ExitCode}: {error.Result}");
        var answers = JsonSerializer.Deserialize<LlamaAnswers>(output.Result)!;
        Assert.SkipWhen(answers.Unavailable is not null, $"llama.cpp's native library does not load here: {answers.Unavailable}");
        return answers;
    }
}
