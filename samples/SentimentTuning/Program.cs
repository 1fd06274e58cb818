// Tune GPT-2 to write positive reviews: the classic RLHF lesson, step by step.
//
//   dotnet run -c Release --project samples/SentimentTuning
//       with the small models that ship
//   dotnet run -c Release --project samples/SentimentTuning -- GPT2 DISTILBERT IMDB
//       with your folders of lvwerra/gpt2-imdb and lvwerra/distilbert-imdb, and IMDB as parquet, aclImdb/ or aclImdb_v1.tar.gz

// 1, 2  Set-up and libraries: the Rlhf package, and nothing else.
using Rlhf.Data;
using Rlhf.Data.Batching;
using Rlhf.Evaluation;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Tokenizers;
using Rlhf.Training.Loop;
using Rlhf.Training.Ppo;

bool lesson = args.Length > 2;
string? models = lesson ? "" : FindModels();
if (models is null)
{
    Console.Error.WriteLine("There is no folder models/imdb-gpt2-tiny here or in a folder above. Run this inside a checkout of Rlhf, copy the "
        + "checkout's folder models/ to where you run it, or name three paths: GPT2 DISTILBERT IMDB.");
    return 2;
}
string policyFolder = args.ElementAtOrDefault(0) ?? Path.Combine(models, "imdb-gpt2-tiny");
string rewardFolder = args.ElementAtOrDefault(1) ?? Path.Combine(models, "imdb-distilbert-tiny");

// 3  Configuration: the lesson's for its own models. The small model learns with a larger rate and smaller batches.
var config = lesson
    ? new PpoConfig { LearningRate = 1.41e-5 }
    : new PpoConfig { LearningRate = 1.2e-4, InitKlCoef = 0.07, BatchSize = 64, MiniBatchSize = 32 };
int steps = lesson ? 194 : 60;
var device = Devices.Resolve("auto");

// 4  Data: reviews of over 200 characters in random order, tokenized, cut to a random length of 2 to 7 tokens.
//    The first 100 are never trained on.
var tokenizer = AutoTokenizer.FromPretrained(policyFolder);
var all = lesson
    ? QueryDataset.FromReviews(args[2], tokenizer, config.Seed, new LengthSampler(2, 8),
        new ReviewReadOptions { LongerThan = 200, ShuffleSeed = config.Seed })
    : QueryDataset.Load(Path.Combine(models, "queries.jsonl"), tokenizer);
Query[] heldOut = [.. all.Take(100)], queries = [.. all.Skip(100)];

// 5  Models: GPT-2 with a value head as the policy, a frozen copy as the reference.
using var policy = CausalLMWithValueHead.FromPretrained(policyFolder, device);
using var reference = policy.CreateReferenceModel();

// 6  The PPO trainer.
using var trainer = new PpoTrainer(policy, config, reference, steps);

// 7  The reward: a sentiment classifier's raw logit of POSITIVE.
using var sentiment = TextClassificationPipeline.FromPretrained(rewardFolder, device);
foreach (var text in (string[])["this movie was really bad!!", "this movie was really good!!"])
{
    var labels = sentiment.Classify([text], topK: null, FunctionToApply.None, batchSize: 16)[0];
    Console.WriteLine($"{text}  {string.Join("  ", labels.Select(l => $"{l.Label} {l.Score:F2}"))}");
}
var reward = new ClassifierReward(sentiment, "POSITIVE");

// 8  Sampling: from the model's own distribution, no filter, no minimum.
var generation = new GenerationConfig { DoSample = true, TopK = 0, TopP = 1.0, MinLength = -1 };
var generator = new TextGenerator(policy);
var responseLengths = new LengthSampler(4, 16);

// 9  The loop: responses, scores of query + response, a PPO step, statistics.
var batches = new ShuffledBatches(queries.Length, config.BatchSize, config.Seed);
for (int step = 1; step <= steps; step++)
{
    Query[] batch = [.. batches.Next().Select(i => queries[i])];
    int[][] queryIds = [.. batch.Select(q => q.TokenIds)];
    var lengths = responseLengths.Sample(new RandomStream(config.Seed, $"lengths/{step}"), batch.Length);
    var sampled = generator.Generate(queryIds, generation, lengths, new RandomStream(config.Seed, $"sampling/{step}"));

    var texts = sampled.Responses.Select(ids => tokenizer.Decode(ids, skipSpecialTokens: true));
    Completion[] completions = [.. batch.Zip(texts, (query, response) => new Completion(query.Text, response))];
    var scores = reward.Score(completions);

    var statistics = trainer.Step(sampled.ToRollout(queryIds), scores);
    double loss = statistics.Scalars()["ppo/loss/total"];
    Console.WriteLine($"step {step,3}/{steps}  reward {statistics.RewardMean,6:F2}  KL {statistics.Kl,5:F2}  loss {loss,7:F4}");
}

// 10  Evaluation: the same queries before and after.
var evaluator = new PolicyEvaluator(tokenizer, [.. heldOut.Select(q => q.TokenIds)], reward)
{
    Generation = generation,
    ResponseLengths = responseLengths.Sample(new RandomStream(config.Seed, "lengths/evaluation"), heldOut.Length),
    Seed = config.Seed,
};
var comparison = evaluator.Compare(reference, policy.PretrainedModel);
foreach (var row in comparison.Rows.Take(5))
    Console.WriteLine($"\n{row.Query}\n  before {row.RewardBefore,6:F2} {row.ResponseBefore}" +
        $"\n  after  {row.RewardAfter,6:F2} {row.ResponseAfter}");
Console.WriteLine($"\nreward  mean {comparison.Before.Reward.Mean:F2} -> {comparison.After.Reward.Mean:F2}" +
    $"  median {comparison.Before.Reward.Median:F2} -> {comparison.After.Reward.Median:F2}");

// 11  Save in Hugging Face's format: transformers opens the folder.
string output = Path.Combine("runs", "gpt2-imdb-pos");
policy.SavePretrained(output);
tokenizer.SavePretrained(output);
Console.WriteLine($"saved in {output}");
return 0;

static string? FindModels()
{
    for (var folder = Directory.GetCurrentDirectory(); folder is not null; folder = Path.GetDirectoryName(folder))
        if (Directory.Exists(Path.Combine(folder, "models", "imdb-gpt2-tiny")))
            return Path.Combine(folder, "models");
    return null;
}
