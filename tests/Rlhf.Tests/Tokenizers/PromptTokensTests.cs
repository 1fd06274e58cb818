using System.Text.RegularExpressions;
using Rlhf.Cli.Verbs;
using Rlhf.Data;
using Rlhf.Data.Batching;
using Rlhf.Evaluation;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Models.Gpt2;
using Rlhf.Rewards;
using Rlhf.Studio.Playground;
using Rlhf.Tests.Models;
using Rlhf.Tokenizers;
using Rlhf.Training.RewardModeling;
using Rlhf.Training.Sft;
using TorchSharp;

namespace Rlhf.Tests.Tokenizers;

/// <summary>With a tokenizer that adds BOS, everything that reads or writes text agrees on where it stands.</summary>
public sealed partial class PromptTokensTests
{
    private const string Prompt = "the film was", Answer = " good, the actors are", Bos = "<|begin|>", Eos = "<|end|>";

    private static readonly ByteLevelBpeTokenizer Plain = ByteLevelBpeTrainer.Train(
        ["the film was good, the actors are good, the film was bad"], 290, [Bos, Eos]);

    private static readonly int BosId = Plain.TokenToId(Bos)!.Value, EosId = Plain.TokenToId(Eos)!.Value;

    /// <summary>BOS before a text, as Llama has it.</summary>
    private static readonly ByteLevelBpeTokenizer Tokenizer = With(new([BosId], [], [BosId], [], []));

    private static readonly int[] PromptIds = [BosId, .. Plain.Encode(Prompt)], AnswerIds = Plain.Encode(Answer);

    private static ByteLevelBpeTokenizer With(SequenceTemplate template, bool addPrefixSpace = false)
    {
        using var folder = new Fixtures.TemporaryFolder();
        Plain.SavePretrained(folder.Path);
        var merges = File.ReadLines(Path.Combine(folder.Path, "merges.txt")).Skip(1).Select(l => l.Split(' ')).Select(m => (m[0], m[1]));
        var settings = Plain.Settings with
        {
            Template = template,
            SpecialTokens = new() { Bos = Bos, Eos = Eos },
        };
        return new(
            Enumerable.Range(0, Plain.VocabSize).ToDictionary(Plain.IdToToken), [.. merges], settings, addPrefixSpace);
    }

    [Fact]
    public void SupervisedFineTuningBeginsTextsWithIt()
    {
        var config = new SftConfig { CompletionOnlyLoss = true };
        var pair = SftData.Example(new(Prompt, Answer), Tokenizer, EosId, 64, config);
        Assert.Equal([.. PromptIds, .. AnswerIds, EosId], pair.Ids);
        Assert.Equal(PromptIds.Length, pair.LossStart);
        var text = Assert.Single(SftData.Sequences([new(Prompt, null)], Tokenizer, EosId, 64, config with { Packing = false }));
        Assert.Equal([.. PromptIds, EosId], text.Ids);
        var packed = Assert.Single(
            SftData.Sequences([new(Prompt, null), new(Prompt, null)], Tokenizer, EosId, 64, config with { Packing = true }));
        Assert.Equal([.. PromptIds, EosId, .. PromptIds, EosId], packed.Ids);
    }

    [Fact]
    public void QueriesBeginWithItAndTheirTextDoesNotShowIt()
    {
        var whole = Assert.Single(QueryDataset.FromTexts([Prompt], Tokenizer, new LengthSampler(100, 101), seed: 1));
        Assert.Equal((Prompt, string.Join(' ', PromptIds)), (whole.Text, string.Join(' ', whole.TokenIds)));
        var cut = Assert.Single(QueryDataset.FromTexts([Prompt], Tokenizer, new LengthSampler(2, 3), seed: 1));
        Assert.Equal((Tokenizer.Decode(PromptIds[1..2]), 2), (cut.Text, cut.TokenIds.Length));
        var shortest = Assert.Single(QueryDataset.FromTexts([Prompt], Tokenizer, new LengthSampler(1, 2), seed: 1));
        Assert.Equal(PromptIds[..2], shortest.TokenIds);
        Assert.Empty(QueryDataset.FromTexts([""], Tokenizer, new LengthSampler(2, 3), seed: 1));
    }

    [Fact]
    public void GenerateTheStudioAndItsApiReadPromptsAlike()
    {
        using var model = Policy();
        using var completer = new TextCompleter(model, Tokenizer);
        Assert.Equal(PromptIds, completer.Encode(Prompt, 1));
        Assert.Equal(PromptIds, GenerateVerb.Encode([Prompt], Tokenizer, EosId)[0]);
        Assert.Equal(PromptIds, SideBySide.Query(Prompt, Tokenizer, 1, 64));
        foreach (var fromNothing in new[] { completer.Encode("", 1), GenerateVerb.Encode([""], Tokenizer, EosId)[0],
                     SideBySide.Query("", Tokenizer, 1, 64) })
            Assert.Equal([BosId], fromNothing);
    }

    [Fact]
    public void ARewardModelScoresWhatItLearntFrom()
    {
        foreach (var tokenizer in new[] { Tokenizer, With(new([BosId], [EosId], [BosId], [], [EosId])) })
        {
            using var model = SmallModels.Gpt2Classifier(
                new Gpt2Config { VocabSize = 300, NPositions = 64, NEmbd = 8, NLayer = 1, NHead = 2 }, labels: ["score"]);
            model.Initialize(3);
            using var pipeline = new TextClassificationPipeline(model, tokenizer);
            var examples = new RewardExamples(tokenizer, 64);
            var example = Assert.Single(examples.Encode([new PreferencePair(Prompt, Answer, " bad")]));
            using var learnt = examples.Pack([example], torch.CPU);
            Assert.Equal(tokenizer.EncodeCompletion(Prompt, Answer, 64), learnt.HostIds[..learnt.Offsets[1]].Select(i => (int)i));
            using var noGrad = torch.no_grad();
            using var logits = model.Forward(learnt);
            Assert.Equal(logits[0, 0].item<float>(), pipeline.Logits([new Completion(Prompt, Answer)])[0][0], 1e-5f);
            Assert.Equal(logits[0, 0].item<float>(), pipeline.Logits([Prompt + Answer])[0][0], 1e-5f);
        }
    }

    [Fact]
    public void PerplexityIsThatOfTheTextAfterIt()
    {
        using var model = Policy();
        var score = new LanguageModelEvaluator(model, Tokenizer).Evaluate([Prompt]);
        Assert.Equal(PromptIds.Length - 1, score.Tokens);
        Assert.Equal(-SequenceLogprobs.Of(model, [PromptIds], [1])[0].Sum(l => (double)l), score.Nats, 1e-4);
    }

    [Fact]
    public void ItIsNotAddedToATextThatHasItAlready()
    {
        Assert.Equal(PromptIds, Tokenizer.OfPrompt(Bos + Prompt));
        Assert.Equal(PromptIds, Tokenizer.OfRendered(Bos + Prompt));
        Assert.Equal(Plain.Encode(Prompt), Tokenizer.OfContinuation(Prompt));
    }

    [Fact]
    public void WithoutATemplateNothingIsAdded()
    {
        Assert.Equal(Plain.Encode(Prompt), Plain.OfPrompt(Prompt));
        Assert.Empty(Plain.OfPrompt(""));
        Assert.Equal([EosId], Plain.OfPrompt("", otherwise: EosId));
    }

    [Fact]
    public void ASpaceThatIsPutBeforeTheFirstWordIsNotPutBeforeAContinuation()
    {
        var spaced = With(new([BosId], [], [BosId], [], []), addPrefixSpace: true);
        int[] ids = [.. spaced.OfPrompt("the film"), .. spaced.OfContinuation("s are")];
        Assert.Equal(" the films are", spaced.TextOfPrompt(ids));
    }

    /// <summary>Nothing but the tokenizers' room and what reads templates itself turns text into ids by hand.</summary>
    [Fact]
    public void NobodyElseDecides()
    {
        string[] allowed = ["RewardExamples.cs", "ClassifierEvaluator.cs", "GgufPreTokenizer.cs"];
        var source = Path.Combine(Fixtures.Repository(), "src");
        var offenders = Directory.EnumerateFiles(source, "*.cs", SearchOption.AllDirectories)
            .Where(f => !f.Contains("/obj/", StringComparison.Ordinal) && !f.Contains("/Rlhf.Inference/Tokenizers/", StringComparison.Ordinal))
            .Where(f => !allowed.Contains(Path.GetFileName(f)) && DirectEncoding().IsMatch(File.ReadAllText(f)));
        Assert.Empty(offenders);
    }

    private static Gpt2LMHeadModel Policy()
    {
        var model = new Gpt2LMHeadModel(new Gpt2Config { VocabSize = 300, NPositions = 64, NEmbd = 8, NLayer = 1, NHead = 2 });
        model.Initialize(1);
        return model;
    }

    [GeneratedRegex(@"okenizer\.Encode\(|tokenizer\.BosTokenId \?\?|ClsTokenId is \{ \} ")]
    private static partial Regex DirectEncoding();
}
