using System.Text.Json;
using System.Text.Json.Serialization;
using Rlhf.Generation;

namespace Rlhf.Serving;

/// <summary>The body of a completions request, as OpenAI's clients send it.</summary>
internal sealed record CompletionRequest : SamplingRequest
{
    private const int DefaultMaxTokens = 16, MostLogprobs = 5;

    public JsonElement Prompt { get; init; }

    public int? MaxTokens { get; init; }

    public int? BestOf { get; init; }

    public bool? Echo { get; init; }

    public int? Logprobs { get; init; }

    public string? Suffix { get; init; }

    /// <summary>Tokens to write; 0 where only the prompt is asked about.</summary>
    [JsonIgnore]
    public int NewTokens => MaxTokens ?? DefaultMaxTokens;

    /// <summary>How the texts are written.</summary>
    /// <exception cref="RequestException">Lists every problem.</exception>
    public CompletionOptions Options()
    {
        List<FieldProblem> problems = [];
        Refuse(problems, Logprobs is not null && Stream == true, "logprobs", "logprobs with stream");
        if (Logprobs is < 0 or > MostLogprobs)
            problems.Add(new("logprobs", $"logprobs is {Logprobs}; it must be from 0 to {MostLogprobs}."));
        Refuse(problems, Suffix is { Length: > 0 }, "suffix");
        Refuse(problems, BestOf is { } best && best != Choices, "best_of", "best_of other than n");
        if (MaxTokens is < 0)
            problems.Add(new("max_tokens", $"max_tokens is {MaxTokens}; it must be at least 0."));
        var options = Options(NewTokens, Logprobs, problems);
        RequestException.ThrowIfAny(problems);
        return options;
    }

    /// <summary>The prompts; one that is missing is a text from nothing.</summary>
    /// <exception cref="RequestException">They are no texts, or too many.</exception>
    public CompletionPrompt[] Prompts()
    {
        List<FieldProblem> problems = [];
        CompletionPrompt[] prompts = Prompt.ValueKind is JsonValueKind.Undefined or JsonValueKind.Null ? [new("", null)] : Prompts(Prompt, problems);
        if (problems.Count == 0 && (prompts.Length == 0 || (long)prompts.Length * Choices > MostChoices))
            problems.Add(new("prompt", prompts.Length == 0
                ? "prompt is an empty list; give a text, or leave it out for a text from nothing."
                : $"There are {prompts.Length} prompts with n = {Choices}; at most {MostChoices} texts can be asked for at once."));
        RequestException.ThrowIfAny(problems);
        return prompts;
    }

    /// <summary>A text, several, the token ids of one, or those of several.</summary>
    private static CompletionPrompt[] Prompts(JsonElement value, List<FieldProblem> problems)
    {
        if (value.ValueKind == JsonValueKind.Array && value.GetArrayLength() > 0)
        {
            JsonElement[] items = [.. value.EnumerateArray()];
            if (items.All(item => item.ValueKind == JsonValueKind.Number))
                return Ids(items) is { } ids ? [new(null, ids)] : NoIds();
            if (items.All(item => item.ValueKind == JsonValueKind.Array))
            {
                int[]?[] lists = [.. items.Select(item => Ids([.. item.EnumerateArray()]))];
                return lists.All(list => list is not null) ? [.. lists.Select(list => new CompletionPrompt(null, list))] : NoIds();
            }
        }
        return [.. JsonTexts.Read(value, "prompt", problems, "a text, a list of texts, a list of token ids, or a list of such lists")
            .Select(text => new CompletionPrompt(text, null))];

        CompletionPrompt[] NoIds()
        {
            problems.Add(new("prompt", "prompt holds a list that is not all token ids; they are whole numbers from 0."));
            return [];
        }

        static int[]? Ids(JsonElement[] numbers)
        {
            var ids = new int[numbers.Length];
            for (int i = 0; i < ids.Length; i++)
                if (numbers[i].ValueKind != JsonValueKind.Number || !numbers[i].TryGetInt32(out ids[i]))
                    return null;
            return ids;
        }
    }
}

/// <summary>A prompt: a text, or token ids as they are.</summary>
/// <param name="Text">The text; null for token ids.</param>
/// <param name="Ids">The token ids; null for a text.</param>
internal sealed record CompletionPrompt(string? Text, int[]? Ids);
