using CsCheck;
using Rlhf.Tokenizers;

namespace Rlhf.Tests.Tokenizers;

public class ByteLevelBpeTokenizerTests
{
    [Fact]
    public void Encodes_and_decodes_as_transformers_does()
    {
        var tokenizer = TokenizerFixtures.Gpt2();
        foreach (var row in TokenizerFixtures.Rows("gpt2"))
        {
            var text = row.Text("text");
            var ids = row.Ids("ids");
            Assert.Equal(ids, tokenizer.Encode(text));
            Assert.Equal(row.Text("decoded"), tokenizer.Decode(ids));
            Assert.Equal(row.Text("decoded_skip_special_tokens"), tokenizer.Decode(ids, skipSpecialTokens: true));
            Assert.Equal(row.Text("decoded_clean_up"), PretrainedTokenizer.CleanUpSpaces(tokenizer.Decode(ids)));
        }
    }

    [Fact]
    public void Decodes_arbitrary_ids_as_transformers_does()
    {
        var tokenizer = TokenizerFixtures.Gpt2();
        foreach (var row in TokenizerFixtures.Rows("gpt2_decode"))
        {
            Assert.Equal(row.Text("decoded"), tokenizer.Decode(row.Ids("ids")));
            Assert.Equal(row.Text("decoded_skip_special_tokens"), tokenizer.Decode(row.Ids("ids"), skipSpecialTokens: true));
        }
    }

    [Fact]
    public void Special_tokens_are_those_of_the_fixture()
    {
        var tokenizer = TokenizerFixtures.Gpt2();
        var special = TokenizerFixtures.Part("special").GetProperty("gpt2");
        Assert.Equal(special.GetProperty("vocab_size").GetInt32(), tokenizer.VocabSize);
        Assert.Equal(special.GetProperty("bos_token_id").GetInt32(), tokenizer.BosTokenId);
        Assert.Equal(special.GetProperty("eos_token_id").GetInt32(), tokenizer.EosTokenId);
        Assert.Equal(special.GetProperty("unk_token_id").GetInt32(), tokenizer.UnkTokenId);
        Assert.Null(tokenizer.PadTokenId);
    }

    [Fact]
    public void Any_text_survives_encoding()
    {
        var tokenizer = TokenizerFixtures.Gpt2();
        RandomText.Valid.Sample(text => Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text))), iter: 2000);
    }

    [Fact]
    public void Lone_surrogates_become_replacement_characters()
    {
        var tokenizer = TokenizerFixtures.Gpt2();
        Assert.Equal("a\uFFFDb\uFFFD", tokenizer.Decode(tokenizer.Encode("a\uD83Db\uDE00")));
        Assert.Equal("\0\0", tokenizer.Decode(tokenizer.Encode("\0\0")));
        Assert.Empty(tokenizer.Encode(""));
    }

    [Fact]
    public void A_word_of_a_million_letters_is_encoded()
    {
        var tokenizer = TokenizerFixtures.Gpt2();
        var text = new string('a', 1_000_000);
        Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text)));
    }

    [Fact]
    public void Long_words_merge_as_short_ones_do()
    {
        // A small alphabet, so that merges compete.
        var table = new MergeTable(16);
        int rank = 0;
        foreach (var (left, right) in new[] { (0, 1), (1, 0), (0, 0), (3, 3), (1, 1), (4, 0), (5, 3) })
            table.Add(left, right, 3 + rank++);
        Gen.Int[0, 2].Array[0, 200].Sample(symbols =>
        {
            int[] scanned = [.. symbols], queued = [.. symbols];
            Assert.Equal(scanned[..table.ApplyByScan(scanned)], queued[..table.ApplyByQueue(queued)]);
        }, iter: 2000);
    }
}
