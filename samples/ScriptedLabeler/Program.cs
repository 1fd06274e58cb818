// A labeler made of rules, in the place of a person: it uses the very service that the studio's Label page uses.
//
//   dotnet run -c Release --project samples/ScriptedLabeler -- label pairs.jsonl labelled.jsonl 1200
//       judges up to 1200 pairs, with mistakes and ties
//   dotnet run -c Release --project samples/ScriptedLabeler -- compare runs/reward-labelled models/imdb-gpt2-tiny runs/ppo-labelled runs/dpo-labelled
//       how often the answers of the models after the first to 200 held-out queries win against the first's, by the same preference without
//       mistakes, and by the judge; and those of the first when the reward model chooses among eight
//
// docs/labelling.md shows what comes of it.
using System.Globalization;
using Rlhf.Data;
using Rlhf.Data.Batching;
using Rlhf.Evaluation;
using Rlhf.Models;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Studio.Labeling;
using Rlhf.Tokenizers;

CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
string models = FindModels();
using var sentiment = TextClassificationPipeline.FromPretrained(Path.Combine(models, "imdb-distilbert-tiny"), Devices.Resolve("cpu"));
var preference = new Preference(new ClassifierReward(sentiment, "POSITIVE"));
switch (args)
{
    case ["label", var pairs, var labels, var count]:
        Label(Path.GetFullPath(pairs), Path.GetFullPath(labels), int.Parse(count));
        return 0;
    case ["compare", var reward, var before, .. var after]:
        Compare(reward, before, after);
        return 0;
    default:
        Console.Error.WriteLine("label PAIRS LABELS COUNT, or compare REWARD-MODEL MODEL MODEL...");
        return 1;
}

// Choices follow Bradley and Terry: the closer the scores, the more often the worse answer is chosen.
void Label(string pairs, string labels, int count)
{
    const double temperature = 0.25, tie = 0.1, unwilling = 0.01;
    var random = new RandomStream(0, "scripted labeler");
    var labeler = Labeler.New("script");
    var project = LabelProject.Open(new PairSource("", Path.GetFileName(pairs), pairs, labels), repeatEvery: 12);
    int judged = 0, clear = 0, right = 0;
    while (judged < count && project.Next(labeler) is { } shown)
    {
        var scores = preference.Score([new(shown.Pair.Prompt, shown.First), new(shown.Pair.Prompt, shown.Second)]);
        double difference = scores[0] - scores[1];
        bool first = random.NextDouble() < 1 / (1 + Math.Exp(-difference / temperature));
        var verdict = random.NextDouble() < unwilling ? Verdict.Skip : Math.Abs(difference) < tie ? Verdict.Tie : shown.Prefers(first);
        project.Record(labeler, shown, verdict, seconds: 0);
        judged += shown.Repeat ? 0 : 1;
        if (verdict is Verdict.A or Verdict.B && !shown.Repeat)
        {
            clear++;
            right += first == difference > 0 ? 1 : 0;
        }
    }
    var progress = project.Progress(labeler);
    var own = progress.Own;
    Console.WriteLine($"judged {judged}: {progress.Labels} labels, {own.Ties} ties, {own.Skips} skipped");
    Console.WriteLine($"labels that agree with the preference without mistakes: {(double)right / clear:P1}");
    Console.WriteLine($"first chosen {own.FirstChosen.Value:P1}, longer chosen {own.LongerChosen.Value:P1}, "
        + $"same again {own.SameAgain.Count} of {own.SameAgain.Of}");
}

// The queries that rlhf ppo and rlhf pairs sample leave out, their lengths, and the sampling of rlhf evaluate --policies.
void Compare(string rewardModel, string before, string[] after)
{
    const int queries = 200, seed = 0;
    var tokenizer = AutoTokenizer.FromPretrained(before);
    var all = QueryDataset.Load(Path.Combine(models, "queries.jsonl"), tokenizer, new() { ShuffleSeed = seed });
    int[][] heldOut = [.. QueryDataset.FromTexts([.. all.Select(q => q.Text)], tokenizer, new LengthSampler(2, 8), seed)
        .Take(queries).Select(q => q.TokenIds)];
    using var bert = TextClassificationPipeline.FromPretrained(Path.Combine(models, "imdb-bert-tiny"));
    using var learned = AutoReward.FromPretrained(ModelOf(rewardModel), Devices.Resolve("cpu"));
    NamedScorer[] scorers =
    [
        new("learned reward", learned), new("preference", preference), new("judge", new ClassifierReward(bert, "POSITIVE")),
        new("sentiment", new ClassifierReward(sentiment, "POSITIVE")),
    ];
    var comparison = new PolicySideBySide(tokenizer, heldOut, scorers)
    {
        ResponseLengths = new LengthSampler(4, 16).Sample(new RandomStream(seed, "evaluation/response-length"), queries),
        BestOf = 8,
        Seed = seed,
    };
    string ModelOf(string folder) => Directory.Exists(Path.Combine(folder, "model")) ? Path.Combine(folder, "model") : folder;
    var results = comparison.Compare([.. after.Prepend(before).Select(folder =>
        (Path.GetFileName(folder), (Func<CausalLM>)(() => AutoModelForCausalLM.FromPretrained(ModelOf(folder)))))]);
    foreach (var result in results)
    {
        Console.WriteLine($"{result.Policy}: KL {(result.BestOf is null ? "" : "at most ")}{result.Kl:F2}, distinct-2 {result.Samples.Distinct2:F3}, "
            + $"perplexity under {results[0].Policy} {result.Samples.RefPerplexity:F1}");
        foreach (var score in result.Scores)
        {
            Console.Write($"  {score.Scorer,-14} mean {score.Score.Mean:F2} ({score.Score.MeanCi95.Low:F2} to {score.Score.MeanCi95.High:F2})");
            var (low, high) = Wilson(score.WinRate ?? 0, queries);
            Console.WriteLine(score.WinRate is { } wins ? $"   wins {wins:P1} ({low:P1} to {high:P1})" : "");
        }
        string[] answers = [.. result.Samples.Completions.Select(c => c.Response)];
        Console.WriteLine($"  {answers.Average(a => a.Trim().Length):F1} letters, {answers.Average(a => Diversity.Words(a).Length):F1} words, "
            + $"rude or shouting {answers.Count(a => Preference.Rudeness(a) > 0)}, penalty for length {answers.Average(Preference.Length):F2}");
    }
    for (int i = 0; i < 8; i++)
    {
        Console.WriteLine($"\n{results[0].Samples.Completions[i].Query}");
        foreach (var result in results)
            Console.WriteLine($"  {result.Policy,-16} {result.Samples.Completions[i].Response}");
    }
}

// 95 % interval of a share (Wilson 1927).
static (double Low, double High) Wilson(double share, int count)
{
    const double z = 1.96;
    double center = (share + z * z / (2 * count)) / (1 + z * z / count);
    double half = z / (1 + z * z / count) * Math.Sqrt(share * (1 - share) / count + z * z / (4.0 * count * count));
    return (center - half, center + half);
}

static string FindModels()
{
    for (var folder = Directory.GetCurrentDirectory(); folder is not null; folder = Path.GetDirectoryName(folder))
        if (Directory.Exists(Path.Combine(folder, "models", "imdb-gpt2-tiny")))
            return Path.Combine(folder, "models");
    throw new DirectoryNotFoundException("The folder models/ was not found; run this from inside the checkout.");
}
