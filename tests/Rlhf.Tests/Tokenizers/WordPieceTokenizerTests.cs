using CsCheck;
using Rlhf.Tokenizers;

namespace Rlhf.Tests.Tokenizers;

public class WordPieceTokenizerTests
{
    [Fact]
    public void Encodes_and_decodes_as_transformers_does()
    {
        var tokenizer = TokenizerFixtures.Bert();
        foreach (var row in TokenizerFixtures.Rows("bert"))
        {
            var ids = row.Ids("ids");
            Assert.Equal(ids, tokenizer.Encode(row.Text("text")));
            Assert.Equal(row.Ids("ids_without_special_tokens"), tokenizer.Encode(row.Text("text"), addSpecialTokens: false));
            Assert.Equal(row.GetProperty("tokens").EnumerateArray().Select(t => t.GetString()), ids.Select(tokenizer.IdToToken));
            Assert.Equal(row.Text("decoded"), tokenizer.Decode(ids));
            Assert.Equal(row.Text("decoded_skip_special_tokens"), tokenizer.Decode(ids, skipSpecialTokens: true));
        }
    }

    [Fact]
    public void Decodes_arbitrary_ids_as_transformers_does()
    {
        var tokenizer = TokenizerFixtures.Bert();
        foreach (var row in TokenizerFixtures.Rows("bert_decode"))
        {
            Assert.Equal(row.Text("decoded"), tokenizer.Decode(row.Ids("ids")));
            Assert.Equal(row.Text("decoded_skip_special_tokens"), tokenizer.Decode(row.Ids("ids"), skipSpecialTokens: true));
        }
    }

    [Fact]
    public void Special_tokens_are_those_of_the_fixture()
    {
        var tokenizer = TokenizerFixtures.Bert();
        var special = TokenizerFixtures.Part("special").GetProperty("bert");
        Assert.Equal(special.GetProperty("vocab_size").GetInt32(), tokenizer.VocabSize);
        Assert.Equal(special.GetProperty("cls").GetInt32(), tokenizer.ClsTokenId);
        Assert.Equal(special.GetProperty("sep").GetInt32(), tokenizer.SepTokenId);
        Assert.Equal(special.GetProperty("pad").GetInt32(), tokenizer.PadTokenId);
        Assert.Equal(special.GetProperty("unk").GetInt32(), tokenizer.UnkTokenId);
        Assert.Equal(special.GetProperty("mask").GetInt32(), Assert.IsType<WordPieceTokenizer>(tokenizer).MaskTokenId);
    }

    [Fact]
    public void No_text_is_too_strange()
    {
        var tokenizer = TokenizerFixtures.Bert();
        Gen.Char.Array[0, 40].Select(c => new string(c)).Sample(
            text => Assert.All(tokenizer.Encode(text), id => Assert.InRange(id, 0, 30521)), iter: 1000);
        Assert.Equal([101, 102], tokenizer.Encode("\0\uD83D\uFEFF"));
        Assert.Equal([101, 100, 102], tokenizer.Encode(new string('a', 1_000_000)));
    }

    // By hand: accents go, capitals go, İ loses its dot; kept when the settings say so.
    [Theory]
    [InlineData("Él ÀÉ İx", true, null, "el ae ix")]
    [InlineData("Él İx", true, false, "él i\u0307x")]
    [InlineData("Él İx", false, null, "Él İx")]
    [InlineData("Él İx", false, true, "El Ix")]
    [InlineData("한\u00a0中\t\u0000\u200b", true, null, "\u1112\u1161\u11ab  中  ")]
    public void Normalises_as_the_settings_say(string text, bool lowercase, bool? stripAccents, string expected)
    {
        Assert.Equal(expected, new BertNormalizer(Lowercase: lowercase, StripAccents: stripAccents).Normalize(text));
    }

    [Fact]
    public void Accents_go_by_canonical_decomposition()
    {
        // From Unicode's charts: canonical decompositions and their nonspacing marks; a compatibility ligature stays.
        (string Text, string Bare)[] byHand =
        [
            ("Å", "A"), ("\u212B", "A"), ("ệ", "e"), ("ﬁ", "ﬁ"), ("\uFB1D", "\u05D9"), ("\uF900", "\u8C48"),
            ("각", "\u1100\u1161\u11A8"), ("가", "\u1100\u1161"),
            ("\u09CB", "\u09C7\u09BE"), ("\U0001D15E", "\U0001D157\U0001D165"),
        ];
        foreach (var (text, bare) in byHand)
            Assert.Equal(bare, new BertNormalizer(false, false, true, false).Normalize(text));
    }
}
