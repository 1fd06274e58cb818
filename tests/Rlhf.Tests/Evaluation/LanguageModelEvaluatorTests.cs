using CsCheck;
using Rlhf.Evaluation;
using Rlhf.Models;
using Rlhf.Models.Gpt2;
using TorchSharp;

namespace Rlhf.Tests.Evaluation;

public class LanguageModelEvaluatorTests
{
    [Fact]
    public void Logprobs_are_those_of_the_reference()
    {
        using var model = AutoModelForCausalLM.FromPretrained(Fixtures.Path("gpt2-tiny"));
        using var expected = FixtureTensors.Load(Fixtures.Path("gpt2-tiny-expected.safetensors"));
        var (ids, mask) = (expected.Rows("right.input_ids"), expected.Rows("right.attention_mask"));
        var rows = ids.Select((row, b) => row[..mask[b].Sum()]).ToArray();
        var reference = expected.Floats("right.next_token_logprobs").Chunk(ids[0].Length - 1).ToArray();
        // Row 0 from its second token, row 1 from its third, and so on.
        var starts = rows.Select((row, b) => Math.Min(b + 1, row.Length)).ToArray();

        var logprobs = SequenceLogprobs.Of(model, rows, starts);
        for (int b = 0; b < rows.Length; b++)
        {
            Assert.Equal(rows[b].Length - starts[b], logprobs[b].Length);
            for (int t = starts[b]; t < rows[b].Length; t++)
                Assert.Equal(reference[b][t - 1], logprobs[b][t - starts[b]], 1e-4);
        }
    }

    [Fact]
    public void A_uniform_model_has_the_vocabularys_size_as_perplexity()
    {
        // All logits 0: every one of 64 tokens costs 6 bits. "7 8 9" has 3 tokens in 5 characters, "10" has 1 in 2: 24 bits over
        // 7 characters.
        using var model = Uniform(positions: 8);
        var score = new LanguageModelEvaluator(model, new NumberTokenizer(64, endToken: 0)).Evaluate(["7 8 9", "10", ""]);
        Assert.Equal((4, 7, 7), (score.Tokens, score.Characters, score.Bytes));
        Assert.Equal(64, score.Perplexity, 1e-3);
        Assert.Equal(24.0 / 7, score.BitsPerCharacter, 1e-5);
    }

    [Fact]
    public void Without_a_start_token_the_first_token_and_its_characters_do_not_count()
    {
        using var model = Uniform(positions: 8, endToken: null);
        var score = new LanguageModelEvaluator(model, new NumberTokenizer(64)).Evaluate(["7 8 9"]);
        Assert.Equal((2, 3), (score.Tokens, score.Characters));
    }

    [Fact]
    public void A_text_longer_than_the_model_is_scored_once_in_overlapping_windows()
    {
        using var model = Uniform(positions: 8);
        List<int> progress = [];
        var text = NumberTokenizer.Text(Enumerable.Range(1, 50));
        var score = new LanguageModelEvaluator(model, new NumberTokenizer(64, endToken: 0)).Evaluate([text], progress.Add);
        Assert.Equal((50, (long)text.Length), (score.Tokens, score.Characters));
        Assert.Equal(50 * Math.Log(64), score.Nats, 1e-3);
        Assert.Equal([1], progress);
    }

    [Fact]
    public void Windows_score_every_token_once_with_half_a_window_before_it() =>
        Gen.Select(Gen.Int[1, 300], Gen.Int[2, 40]).Sample((length, window) =>
        {
            int scored = 1;
            foreach (var (begin, end, first) in LanguageModelEvaluator.Windows(length, window))
            {
                Assert.Equal(scored, first);
                Assert.True(begin >= 0 && end <= length && end - begin <= window && first > begin && end > first);
                Assert.True(begin == 0 || first - begin >= window / 2);
                scored = end;
            }
            Assert.Equal(length, scored);
        }, iter: 500);

    [Fact]
    public void Windows_give_the_same_score_as_the_whole_where_they_see_the_whole()
    {
        using var model = AutoModelForCausalLM.FromPretrained(Fixtures.Path("gpt2-tiny"));
        int end = model.VocabSize - 1, length = Math.Min(60, model.MaxPositions - 1);
        var tokenizer = new NumberTokenizer(model.VocabSize, endToken: end);
        string text = NumberTokenizer.Text(Enumerable.Range(0, length).Select(i => i * 37 % end));
        var whole = new LanguageModelEvaluator(model, tokenizer).Evaluate([text]);
        // With the end token, as many tokens as the window holds are one window; in shorter windows only the first tokens are scored alike.
        Assert.Equal(whole, new LanguageModelEvaluator(model, tokenizer) { MaxLength = length + 1 }.Evaluate([text]));
        var windowed = new LanguageModelEvaluator(model, tokenizer) { MaxLength = length * 2 / 3 }.Evaluate([text]);
        Assert.Equal(whole.Tokens, windowed.Tokens);
        Assert.NotEqual(whole.Nats, windowed.Nats);
    }

    [Fact]
    public void A_tokenizer_of_another_model_is_refused()
    {
        using var model = Uniform(positions: 8);
        Assert.Throws<ArgumentException>(() => new LanguageModelEvaluator(model, new NumberTokenizer(900, endToken: 899)));
        var larger = new LanguageModelEvaluator(model, new NumberTokenizer(900, endToken: 0));
        Assert.Contains("64", Assert.Throws<ArgumentException>(() => larger.Evaluate(["64"])).Message);
        var longer = new LanguageModelEvaluator(model, new NumberTokenizer(64)) { MaxLength = 9 };
        Assert.Contains("MaxLength", Assert.Throws<ArgumentException>(() => longer.Evaluate(["1"])).Message);
    }

    private static CausalLM Uniform(int positions, int? endToken = 0)
    {
        var model = new Gpt2LMHeadModel(new Gpt2Config
        {
            VocabSize = 64,
            NPositions = positions,
            NEmbd = 8,
            NLayer = 1,
            NHead = 2,
            BosTokenId = endToken,
            EosTokenId = endToken,
        });
        model.Initialize(1);
        using var noGrad = torch.no_grad();
        model.Head.Layer.Weight.zero_();
        return model;
    }
}
