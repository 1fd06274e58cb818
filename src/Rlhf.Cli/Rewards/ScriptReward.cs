using System.Globalization;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Scripting;
using Microsoft.CodeAnalysis.Scripting;
using Rlhf.Cli.Terminal;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Cli.Rewards;

/// <summary>What a script sees of an answer; its members are names in the script.</summary>
/// <param name="completion">The answer.</param>
public sealed class ScriptedCompletion(Completion completion)
{
    /// <summary>Text of the prompt.</summary>
    public string Query => completion.Query;

    /// <summary>Text of the answer.</summary>
    public string Response => completion.Response;

    /// <summary>Prompt and answer.</summary>
    public string Text => completion.Text;

    /// <summary>The other columns of the prompt's row.</summary>
    public IReadOnlyDictionary<string, object?> Fields => completion.Fields;

    /// <summary>The conversation that the prompt was rendered from; null where it is plain text.</summary>
    public IReadOnlyList<ChatMessage>? Messages => completion.Messages;
}

/// <summary>A reward that is a C# script: its last expression, or what it returns, is the score of an answer; true is 1.</summary>
internal sealed class ScriptReward : IRewardFunction
{
    private static readonly string[] Imports =
        ["System", "System.Collections.Generic", "System.Globalization", "System.Linq", "System.Text", "System.Text.Json", "System.Text.RegularExpressions"];

    private readonly string path;
    private readonly ScriptRunner<object> run;

    /// <summary>Compiles a script's file.</summary>
    /// <exception cref="ConfigurationException">It cannot be read, or has errors.</exception>
    public ScriptReward(string path)
    {
        this.path = path;
        string source;
        try
        {
            source = File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException([$"--reward {path} cannot be read: {e.Message}"]);
        }
        var script = CSharpScript.Create<object>(source,
            ScriptOptions.Default.WithImports(Imports).WithFilePath(Path.GetFullPath(path)).WithFileEncoding(System.Text.Encoding.UTF8).WithEmitDebugInformation(true)
                .WithReferences(typeof(object).Assembly, typeof(Enumerable).Assembly, typeof(System.Text.Json.JsonDocument).Assembly,
                    typeof(System.Text.RegularExpressions.Regex).Assembly, typeof(Completion).Assembly, typeof(ConfigurationException).Assembly, typeof(ScriptedCompletion).Assembly),
            typeof(ScriptedCompletion));
        var errors = script.Compile().Where(d => d.Severity == DiagnosticSeverity.Error).ToArray();
        ConfigurationException.ThrowIfAny([.. errors.Select(e =>
            $"--reward {path}, line {e.Location.GetLineSpan().StartLinePosition.Line + 1}: {Screen.Clean(e.GetMessage(CultureInfo.InvariantCulture))}")]);
        run = script.CreateDelegate();
    }

    public string Name => "script";

    /// <inheritdoc/>
    /// <exception cref="RewardException">The script failed, or returned no number.</exception>
    public async ValueTask<IReadOnlyList<float>> ScoreAsync(IReadOnlyList<Completion> completions, CancellationToken cancellation = default)
    {
        var scores = new float[completions.Count];
        for (int i = 0; i < scores.Length; i++)
            scores[i] = await ScoreAsync(completions[i], cancellation).ConfigureAwait(false);
        return scores;
    }

    public void Dispose()
    {
    }

    private async Task<float> ScoreAsync(Completion completion, CancellationToken cancellation)
    {
        object? result;
        try
        {
            result = await run(new ScriptedCompletion(completion), cancellation).ConfigureAwait(false);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            throw new RewardException($"Reward '{Name}': {path} failed on the response {Screen.Clean(completion.Response)}: {e.GetType().Name}: {Screen.Clean(e.Message)}",
                completion, e);
        }
        return result switch
        {
            bool right => right ? 1 : 0,
            IConvertible number and not string => Convert.ToSingle(number, CultureInfo.InvariantCulture),
            _ => throw new RewardException($"Reward '{Name}': {path} gave {(result is null ? "nothing" : result.GetType().Name)} for an answer; end it with an "
                + "expression without a semicolon, or return a number or a bool.", completion),
        };
    }
}
