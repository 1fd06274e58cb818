using System.Text.Json;
using System.Text.Json.Serialization;
using Rlhf.Generation;

namespace Rlhf.Studio.Api;

/// <summary>
/// The body of a completions request, as OpenAI's clients send it. What would change the text and is not supported is refused.
/// </summary>
internal sealed record CompletionRequest
{
    private const int MostChoices = 64, DefaultMaxTokens = 16;

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

    [JsonIgnore]
    public int Choices => N ?? 1;

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
        Refuse(Logprobs is not null, "logprobs");
        Refuse(Suffix is { Length: > 0 }, "suffix");
        Refuse(FrequencyPenalty is not (null or 0), "frequency_penalty");
        Refuse(PresencePenalty is not (null or 0), "presence_penalty");
        Refuse(LogitBias.ValueKind is JsonValueKind.Object && LogitBias.EnumerateObject().Any(), "logit_bias");
        Refuse(BestOf is { } best && best != Choices, "best_of", "best_of other than n");
        if (N is < 1 or > MostChoices)
            problems.Add(new("n", $"n is {N}; it must be from 1 to {MostChoices}."));
        if (MaxTokens is < 1)
            problems.Add(new("max_tokens", $"max_tokens is {MaxTokens}; it must be at least 1."));
        if (Temperature is < 0)
            problems.Add(new("temperature", FormattableString.Invariant(
                $"temperature is {Temperature}; it must be 0 (the most likely text) or above.")));
        var sampling = new GenerationConfig
        {
            DoSample = Temperature is not 0,
            Temperature = Temperature is { } t and > 0 ? t : 1,
            TopP = TopP ?? 1,
            TopK = TopK ?? 0,
            MinP = MinP,
            RepetitionPenalty = RepetitionPenalty ?? 1,
            MaxNewTokens = Math.Max(1, MaxTokens ?? DefaultMaxTokens),
        };
        problems.AddRange(sampling.Validate().Select(OfSampling));
        string[] stop = Texts(Stop, "stop", problems);
        RequestException.ThrowIfAny(problems);
        return new() { Sampling = sampling, Stop = stop, Seed = Seed ?? Random.Shared.NextInt64() };
    }

    /// <summary>The prompts; one that is missing is a text from nothing.</summary>
    /// <exception cref="RequestException">They are no texts, or too many.</exception>
    public string[] Prompts()
    {
        List<FieldProblem> problems = [];
        string[] prompts = Prompt.ValueKind == JsonValueKind.Undefined ? [""] : Texts(Prompt, "prompt", problems);
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

    private static string[] Texts(JsonElement value, string name, List<FieldProblem> problems)
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
                problems.Add(new(name, $"{name} must be a text or a list of texts."));
                return [];
        }
    }
}
