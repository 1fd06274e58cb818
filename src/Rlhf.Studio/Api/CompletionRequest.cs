using System.Text.Json;
using System.Text.Json.Serialization;
using Rlhf.Generation;

namespace Rlhf.Studio.Api;

/// <summary>
/// The body of a completions request, as OpenAI's clients send it. What would change the text and is not supported is refused.
/// </summary>
internal sealed record CompletionRequest
{
    private const int MostChoices = 64, DefaultMaxTokens = 16, MostLogprobs = 5;

    public string? Model { get; init; }

    public JsonElement Prompt { get; init; }

    public int? MaxTokens { get; init; }

    public double? Temperature { get; init; }

    public double? TopP { get; init; }

    public int? TopK { get; init; }

    public double? MinP { get; init; }

    public double? RepetitionPenalty { get; init; }

    public int? N { get; init; }

    public int? BestOf { get; init; }

    public bool? Stream { get; init; }

    public StreamingOptions? StreamOptions { get; init; }

    public JsonElement Stop { get; init; }

    public long? Seed { get; init; }

    public bool? Echo { get; init; }

    public int? Logprobs { get; init; }

    public string? Suffix { get; init; }

    public double? FrequencyPenalty { get; init; }

    public double? PresencePenalty { get; init; }

    public JsonElement LogitBias { get; init; }

    internal sealed record StreamingOptions(bool IncludeUsage = false);

    /// <summary>Who asks, for the server's own records; nothing is done with it.</summary>
    public string? User { get; init; }

    /// <summary>Fields that no such request has.</summary>
    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unknown { get; init; }

    [JsonIgnore]
    public int Choices => N ?? 1;

    /// <summary>Tokens to write; 0 where only the prompt is asked about.</summary>
    [JsonIgnore]
    public int NewTokens => MaxTokens ?? DefaultMaxTokens;

    /// <summary>How the texts are written.</summary>
    /// <exception cref="RequestException">Lists every problem.</exception>
    public CompletionOptions Options()
    {
        List<FieldProblem> problems = [];
        void Refuse(bool asked, string name, string? which = null)
        {
            if (asked)
                problems.Add(new(name, $"{which ?? name} is not supported; leave it out."));
        }
        problems.AddRange((Unknown ?? []).Keys.Select(name => new FieldProblem(name, $"Unrecognized request argument supplied: {name}")));
        Refuse(Logprobs is not null && Stream == true, "logprobs", "logprobs with stream");
        if (Logprobs is < 0 or > MostLogprobs)
            problems.Add(new("logprobs", $"logprobs is {Logprobs}; it must be from 0 to {MostLogprobs}."));
        Refuse(Suffix is { Length: > 0 }, "suffix");
        Refuse(FrequencyPenalty is not (null or 0), "frequency_penalty");
        Refuse(PresencePenalty is not (null or 0), "presence_penalty");
        Refuse(LogitBias.ValueKind is JsonValueKind.Object && LogitBias.EnumerateObject().Any(), "logit_bias");
        Refuse(BestOf is { } best && best != Choices, "best_of", "best_of other than n");
        if (N is < 1 or > MostChoices)
            problems.Add(new("n", $"n is {N}; it must be from 1 to {MostChoices}."));
        if (MaxTokens is < 0)
            problems.Add(new("max_tokens", $"max_tokens is {MaxTokens}; it must be at least 0."));
        if (Temperature is < 0 or > 2)
            problems.Add(new("temperature", FormattableString.Invariant(
                $"temperature is {Temperature}; it must be from 0 (the most likely text) to 2.")));
        var sampling = new GenerationConfig
        {
            DoSample = Temperature is not 0,
            Temperature = Temperature is { } t and > 0 ? t : 1,
            TopP = TopP ?? 1,
            TopK = TopK ?? 0,
            MinP = MinP,
            RepetitionPenalty = RepetitionPenalty ?? 1,
            MaxNewTokens = Math.Max(1, NewTokens),
        };
        problems.AddRange(sampling.Validate().Select(OfSampling));
        string[] stop = Texts(Stop, "stop", problems);
        RequestException.ThrowIfAny(problems);
        return new() { Sampling = sampling, Stop = stop, Seed = Seed ?? Random.Shared.NextInt64() };
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

    /// <summary>A problem that the library has with a setting, such as "TopP is 2; …", as one of the request's field.</summary>
    private static FieldProblem OfSampling(string problem)
    {
        int end = problem.IndexOf(' ');
        string field = ApiErrors.Json.PropertyNamingPolicy!.ConvertName(problem[..end]);
        return new(field, field + problem[end..]);
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
        return [.. Texts(value, "prompt", problems, "a text, a list of texts, a list of token ids, or a list of such lists")
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

    private static string[] Texts(
        JsonElement value, string name, List<FieldProblem> problems, string wanted = "a text or a list of texts")
    {
        try
        {
            switch (value.ValueKind)
            {
                case JsonValueKind.Undefined or JsonValueKind.Null:
                    return [];
                case JsonValueKind.String:
                    return [value.GetString()!];
                case JsonValueKind.Array when value.EnumerateArray().All(v => v.ValueKind == JsonValueKind.String):
                    return [.. value.EnumerateArray().Select(v => v.GetString()!)];
                default:
                    problems.Add(new(name, $"{name} must be {wanted}."));
                    return [];
            }
        }
        catch (InvalidOperationException)
        {
            // An escape such as \ud83d without its second half.
            problems.Add(new(name, $"{name} holds half of a surrogate pair, which is no character; send whole characters."));
            return [];
        }
    }
}

/// <summary>A prompt: a text, or token ids as they are.</summary>
/// <param name="Text">The text; null for token ids.</param>
/// <param name="Ids">The token ids; null for a text.</param>
internal sealed record CompletionPrompt(string? Text, int[]? Ids);
